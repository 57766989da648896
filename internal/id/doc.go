// Package id holds the typed identifiers of every noun of the registry.
//
// An identifier is a UUIDv7, so that primary keys grow in time order and a page
// of rows read by key is a page read by age. Its text form is a TypeID
// (prefix_ + 26 characters of Crockford base 32), which says in a log line or a
// support ticket what kind of thing it names; a bare UUID is accepted on input.
//
// The kinds of id are types of their own: a project's id can't be passed where a
// tenant's is wanted.
package id
