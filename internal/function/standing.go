package function

import (
	"slices"

	"github.com/runnel-io/runnel"
)

// standing is what the pools of a function were at one moment: each that there
// ever was is in pools, in old, or in the sums of past.
type standing struct {
	pools map[string]*pool
	old   []*pool
	past  map[string]PoolStats

	// Of the live version.
	bounds   runnel.Workers
	starting bool
	failure  error
}

// stats asks the pools, which may take a while: no lock is held. It returns the
// stats of the function, and those of each version that is kept and had
// workers. What is of the moment is that of the pools that take calls; all has
// it of the live version.
func (s *standing) stats(live string, kept []Version) (all PoolStats, ran map[string]PoolStats) {
	ran = make(map[string]PoolStats, len(s.pools))
	for version, p := range s.pools {
		ran[version] = p.Stats()
	}
	add := func(version string, more PoolStats) {
		sum := ran[version]
		sum.add(&more)
		ran[version] = sum
	}
	for _, p := range s.old {
		add(p.version, p.Stats())
	}
	for version, sum := range s.past {
		add(version, sum)
	}
	all = ran[live]
	for version, sum := range ran {
		if version != live {
			all.add(&sum)
		}
		if !slices.ContainsFunc(kept, func(v Version) bool { return v.Hash == version }) {
			delete(ran, version)
		}
	}
	return all, ran
}

// ended forgets a pool that has ended, and not what it did.
func (e *entry) ended(p *pool) {
	sum := p.Stats()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.old = slices.DeleteFunc(e.old, func(q *pool) bool { return q == p })
	e.passed(p.version, &sum)
	for version, sum := range e.past {
		if version != "" && !e.record.has(version) {
			delete(e.past, version)
			e.passed("", sum)
		}
	}
}

// passed adds to the past of a version. The caller holds e.mu.
func (e *entry) passed(version string, sum *PoolStats) {
	if e.past[version] == nil {
		e.past[version] = new(PoolStats)
	}
	e.past[version].add(sum)
}
