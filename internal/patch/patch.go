// Package patch holds the three-way field of a JSON merge patch (RFC 7396): a
// field may be absent (leave it), null (clear it) or have a value (set it).
package patch

import "maps"

// Field is one field of an update. Its zero value is "absent".
type Field[T any] struct {
	set   bool
	value *T
}

// Set returns a field with a value.
func Set[T any](v T) Field[T] { return Field[T]{set: true, value: &v} }

// Null returns a field that is to be cleared.
func Null[T any]() Field[T] { return Field[T]{set: true} }

// Present reports whether the field was in the document, as null or a value.
func (f Field[T]) Present() bool { return f.set }

// IsNull reports whether the field is to be cleared.
func (f Field[T]) IsNull() bool { return f.set && f.value == nil }

// Get returns the value; ok is false when the field is absent or null.
func (f Field[T]) Get() (v T, ok bool) {
	if f.value == nil {
		return v, false
	}
	return *f.value, true
}

// Apply changes dst as the field says: nothing when absent, the zero value when
// null. It reports whether the field was present.
func (f Field[T]) Apply(dst *T) bool {
	if !f.set {
		return false
	}
	if f.value == nil {
		var zero T
		*dst = zero
	} else {
		*dst = *f.value
	}
	return true
}

// ApplyPtr is Apply for a destination whose "none" is nil.
func (f Field[T]) ApplyPtr(dst **T) bool {
	if !f.set {
		return false
	}
	*dst = f.value
	return true
}

// Merge applies a JSON merge patch to a copy of an object: a null takes a name away, an
// object is merged into the one that is there, all else replaces.
func Merge(to, by map[string]any) map[string]any {
	out := maps.Clone(to)
	if out == nil {
		out = make(map[string]any, len(by))
	}
	for name, v := range by {
		switch v := v.(type) {
		case nil:
			delete(out, name)
		case map[string]any:
			inner, _ := out[name].(map[string]any)
			out[name] = Merge(inner, v)
		default:
			out[name] = v
		}
	}
	return out
}
