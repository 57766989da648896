// Package scanning reads what GitHub's secret scanning sends to the services whose
// tokens it finds: a list of matches, signed.
//
// Nothing of a body is believed, or even read as JSON, before the signature of its
// raw bytes is checked (ECDSA P-256 over SHA-256) by the key that the request
// names. GitHub publishes its keys at a URL; they are kept for an hour, used for
// a day while the URL does not answer, and asked for again when a request names
// one that is not among them, but no more than once a minute, for strangers can
// name what they like. An operator may pin the keys in a file instead.
//
// A signature has no time in it, so who once saw a request can send it again. It
// then tells nothing new: a place that was told of is told of no second time.
//
// Deliberately not here: what a match does to a key (package apikey).
package scanning
