// Package ext stands in for a part of Traefik's repository that is a module of its
// own and is not published: types without fields that its configuration embeds.
package ext

// HTTP extends the dynamic configuration by nothing.
type HTTP struct{}

// Router extends a router's configuration by nothing.
type Router struct{}
