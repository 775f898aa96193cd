package validate

// Option tells [Image] what the layers of store paths were made as. Without any they are as
// a store has them; see [checkTar]. Where nothing is left of a store path in its place (a stripped layer), options have no say.
type Option func(*expected)

// expected is what entries of store paths shall have.
type expected struct {
	uid, gid            int
	userName, groupName string
	named               bool   // the names shall be these, else none or root
	mtimeUnix           *int64 // nil: any, but one for a layer
	mode                func(storePath, path string) (mode int64, ok bool)
	whiteoutNames       bool
	anyOrigin           bool
}

// WithOwner expects all in store paths to belong to this owner. (The store directory and those above it are 0:0's always.)
func WithOwner(uid, gid uint32, userName, groupName string) Option {
	return func(e *expected) {
		e.uid, e.gid, e.userName, e.groupName, e.named = int(uid), int(gid), userName, groupName, true
	}
}

// WithMtime expects this time of all entries, in seconds since 1970. Without, any will do that all entries of a layer have.
func WithMtime(unix int64) Option {
	return func(e *expected) { e.mtimeUnix = &unix }
}

// WithModes expects the permissions that f says of a file or directory, where it says any. The path is
// relative to the store path, "" for the store path itself.
func WithModes(f func(storePath, path string) (mode int64, ok bool)) Option {
	return func(e *expected) { e.mode = f }
}

// WithWhiteoutNames lets names pass that begin with ".wh.".
func WithWhiteoutNames() Option {
	return func(e *expected) { e.whiteoutNames = true }
}

// WithAnyOrigin is for an image of which only its bytes are known. It is held to what it says of itself, and to the formats' specifications,
// but not to what is strata's choice alone: strata's layers may have any options (one owner, any modes, names like whiteouts), the layers
// that the history doesn't call strata's may have store paths in whatever way, and a docker archive may be written by docker save,
// skopeo or dockerTools, with compressed layers, links and files for older clients. Files that nothing refers to are none of its faults.
func WithAnyOrigin() Option {
	return func(e *expected) { e.anyOrigin = true }
}
