// Package app is the composition root: the only room that knows every room. It
// opens the database, makes the services, hands them to the faces, and owns the
// start and the order of the stop.
//
//	New ── Start (feed, loops) ── Run: listen … stop accepting ▸ drain ▸ stop loops ▸ flush ▸ close
//
// Functions that a lower room needs from a higher one are passed here, as func
// values. Nothing here is a rule of a noun.
package app
