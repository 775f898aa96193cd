package database

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/ext/serdes"

	"github.com/rules-strata/rules_strata/tool/store"
)

// pageSize is that of the database, in bytes: SQLite's default, and so what both package managers have.
const pageSize = 4096

// Bytes returns the database as a file's contents. It has no freelist and no journal, and anyone can read it without writing; Nix, which
// wants a write-ahead log, makes it one that has when it first writes.
func (r *Registration) Bytes() ([]byte, error) {
	if err := r.Check(); err != nil {
		return nil, err
	}
	db, err := sqlite3.Open(":memory:")
	if err != nil {
		return nil, err
	}
	defer db.Close()
	schema := nixSchema
	if r.Kind == Guix {
		schema = guixSchema
	}
	start := fmt.Sprintf("PRAGMA page_size = %d; PRAGMA encoding = 'UTF-8'; PRAGMA auto_vacuum = NONE; PRAGMA foreign_keys = ON; BEGIN;", pageSize)
	if err := db.Exec(start + schema); err != nil {
		return nil, err
	}
	if err := r.insert(db); err != nil {
		return nil, err
	}
	if err := db.Exec("COMMIT; VACUUM"); err != nil {
		return nil, err
	}
	b, err := serdes.Serialize(db, "main")
	if err != nil {
		return nil, err
	}
	return b, db.Close()
}

// insert adds the rows: paths by name, so that each has the same number each time; then what they refer to.
func (r *Registration) insert(db *sqlite3.Conn) error {
	paths := r.sorted()
	columns := "path, hash, registrationTime, narSize"
	if r.Kind == Nix {
		columns += ", sigs, ca"
	}
	add, _, err := db.Prepare("INSERT INTO ValidPaths (" + columns + ") VALUES (?" + strings.Repeat(", ?", strings.Count(columns, ",")) + ")")
	if err != nil {
		return err
	}
	defer add.Close()
	ids := make(map[store.Path]int64, len(paths))
	for _, p := range paths {
		values := []any{string(p.Path), p.NarHash.String(), r.Time, p.NarSize}
		if r.Kind == Nix {
			values = append(values, known(strings.Join(p.Signatures, " ")), known(p.ContentAddress))
		}
		if err := insertInto(add, values...); err != nil {
			return fmt.Errorf("%s: %w", p.Path, err)
		}
		ids[p.Path] = db.LastInsertRowID()
	}
	refer, _, err := db.Prepare("INSERT INTO Refs (referrer, reference) VALUES (?, ?)")
	if err != nil {
		return err
	}
	defer refer.Close()
	for _, p := range paths {
		for _, to := range slices.Sorted(slices.Values(p.References)) {
			if err := insertInto(refer, ids[p.Path], ids[to]); err != nil {
				return fmt.Errorf("%s: reference to %s: %w", p.Path, to, err)
			}
		}
	}
	return nil
}

// insertInto runs a prepared statement for one row. Of a value that is nil the column is null.
func insertInto(stmt *sqlite3.Stmt, values ...any) error {
	for i, value := range values {
		var err error
		switch v := value.(type) {
		case nil:
			err = stmt.BindNull(i + 1)
		case string:
			err = stmt.BindText(i+1, v)
		case int64:
			err = stmt.BindInt64(i+1, v)
		}
		if err != nil {
			return err
		}
	}
	return stmt.Exec()
}

// known is the value of a column that may be unknown.
func known(text string) any {
	if text == "" {
		return nil
	}
	return text
}
