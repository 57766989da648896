// Package examples holds catalogues to start from. Each folder is one; their
// names do not collide, so the whole folder is a catalogue too.
//
//	landlord apply -f examples/media-reseller
//	landlord apply -f examples
package examples

import "embed"

// Catalogs is the file system of the example catalogues: media-reseller, a
// media-rendering platform that sells through resellers, and ai-platform, a
// platform of AI products with a shared demo tenant.
//
//go:embed media-reseller/*.yaml ai-platform/*.yaml
var Catalogs embed.FS
