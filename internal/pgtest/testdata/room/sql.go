// Package room is what PrepareAll's test looks at.
package room

import "example.invalid/elsewhere"

const (
	columns = "id, " + nameColumn

	selectTenant = `SELECT ` + columns + ` FROM tenants WHERE id = @id AND status = ANY (@statuses)`

	listTenants = `-- newest first
WITH newest AS (SELECT ` + columns + ` FROM tenants ORDER BY created_at DESC LIMIT $1)
SELECT * FROM newest`

	condition = `AND name = $2`
	listen    = `LISTEN landlord`
	misspelt  = `SELECT colour FROM tenants`
	size      = 12
)

func unresolved() error { return elsewhere.Do(size) }
