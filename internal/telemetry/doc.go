// Package telemetry is how landlord tells what it does: structured logs, Prometheus metrics, request ids and the build's
// identity.
//
// # Invariants
//
// Labels are bounded: a method of a fixed list, the route's pattern, a status. No tenant, key, address or path is ever a
// label; those belong in logs.
//
// A log attribute whose key names a secret is redacted whatever its value, as a second line behind secret.Text. A log line
// written with a request's context carries its request id.
//
// It reads and writes nothing but the log's writer and the process's own counters.
package telemetry
