package queue

// Pause makes receives, of clients and flows, find nothing, or ends that; it is
// durable. Long polls wait, and are woken when the pause ends. All else goes on:
// sends, deletes and other settlements, visibility timeouts, delays, retention,
// moves. A receive that has begun to deliver when it is called still does, and
// one that is repeated by its attempt id gets again what it got before.
func (q *Queue) Pause(paused bool) error {
	if s, _ := q.Settings(); s.Paused == paused {
		return nil
	}
	return q.Configure(func(s *Settings) error {
		s.Paused = paused
		return nil
	})
}

// hungry says whether a receive needs the next part of the backlog. Caller holds
// mu.
func (q *Queue) hungry() bool { return !q.settings.Paused && q.starved() }
