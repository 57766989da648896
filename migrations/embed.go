package migrations

import "embed"

// FS holds the migrations, NNNNNN_name.up.sql and .down.sql, at its root.
//
//go:embed [0-9]*.sql
var FS embed.FS
