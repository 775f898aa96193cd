package database

// The tables, as the two package managers make them when they find none. Both ask for columns by name, and for nothing else
// of the schema's text.
const (
	// nixSchema has Nix' schema version 10. An ultimate of null means no, sigs are joined by spaces. SchemaMigrations, which newer
	// Nix makes at once when it isn't there, lets them read a store that they can't write.
	nixSchema = validPathsHead + `,
  ultimate INTEGER,
  sigs TEXT,
  ca TEXT
);
` + commonSchema + `
CREATE TABLE SchemaMigrations (
  migration TEXT PRIMARY KEY NOT NULL
);
`

	// guixSchema has Guix' schema version 7.
	guixSchema = validPathsHead + `
);
` + commonSchema + `
CREATE TABLE FailedPaths (
  path TEXT PRIMARY KEY NOT NULL,
  time INTEGER NOT NULL
);
`

	validPathsHead = `
CREATE TABLE ValidPaths (
  id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
  path TEXT UNIQUE NOT NULL,
  hash TEXT NOT NULL,
  registrationTime INTEGER NOT NULL,
  deriver TEXT,
  narSize INTEGER`

	// The trigger is there since most paths refer to themselves, and could not be deleted otherwise.
	commonSchema = `
CREATE TABLE Refs (
  referrer INTEGER NOT NULL,
  reference INTEGER NOT NULL,
  PRIMARY KEY (referrer, reference),
  FOREIGN KEY (referrer) REFERENCES ValidPaths(id) ON DELETE CASCADE,
  FOREIGN KEY (reference) REFERENCES ValidPaths(id) ON DELETE RESTRICT
);
CREATE INDEX IndexReferrer ON Refs(referrer);
CREATE INDEX IndexReference ON Refs(reference);
CREATE TRIGGER DeleteSelfRefs BEFORE DELETE ON ValidPaths
BEGIN
  DELETE FROM Refs WHERE referrer = old.id AND reference = old.id;
END;
CREATE TABLE DerivationOutputs (
  drv INTEGER NOT NULL,
  id TEXT NOT NULL,
  path TEXT NOT NULL,
  PRIMARY KEY (drv, id),
  FOREIGN KEY (drv) REFERENCES ValidPaths(id) ON DELETE CASCADE
);
CREATE INDEX IndexDerivationOutputs ON DerivationOutputs(path);
`
)
