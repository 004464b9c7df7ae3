package holdfast

import "fmt"

// Migration brings the parts of a payload from one version of a format to the next. It must not change its argument.
type Migration func(parts map[string][]byte) (map[string][]byte, error)

// Migrations holds migrations by format name and version. A nil *Migrations has none. It must not be changed while a
// Resume uses it.
type Migrations struct{ steps map[Format]Migration }

// Register adds a migration of a format from a version to the next one. It panics if the version has a migration
// already, or is below 1: both are mistakes in the program.
func (m *Migrations) Register(name string, fromVersion int32, step Migration) {
	key := Format{name, fromVersion}
	if _, exists := m.steps[key]; exists || fromVersion < 1 {
		panic(fmt.Sprintf("holdfast: format %q version %d has a migration already, or is below 1", name, fromVersion))
	}
	if m.steps == nil {
		m.steps = map[Format]Migration{}
	}
	m.steps[key] = step
}

// Returns the versions that can be migrated to a format, including its own.
func (m *Migrations) accepted(wanted Format) AcceptedFormat {
	lowest := wanted.Version
	for m != nil && m.steps[Format{wanted.Name, lowest - 1}] != nil {
		lowest--
	}
	return AcceptedFormat{wanted.Name, lowest, wanted.Version}
}

func (m *Migrations) migrate(parts map[string][]byte, stored, wanted Format) (map[string][]byte, error) {
	for version := stored.Version; version < wanted.Version; version++ {
		var step Migration
		if m != nil {
			step = m.steps[Format{stored.Name, version}]
		}
		if step == nil {
			return nil, of(ErrFormatIncompatible, "no migration of %q from version %d", stored.Name, version)
		}
		migrated, err := step(parts)
		if err != nil {
			failure := of(ErrFormatIncompatible, "the migration of %q from version %d failed: %.300s",
				stored.Name, version, err.Error())
			failure.cause = err
			return nil, failure
		}
		parts = migrated
	}
	return parts, nil
}
