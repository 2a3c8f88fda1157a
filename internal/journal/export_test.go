package journal

// Limits that tests go beyond.
const (
	MaxText      = maxText
	MaxPageBytes = maxPageBytes
	Gather       = gather
	RetryEvery   = retryEvery
)

// Held is how many lines are in memory.
func (j *Journal) Held() (lines, bytes int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.lines), j.bytes
}

// Pending is how many lines are not on disk.
func (j *Journal) Pending() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return int(j.next - j.unwritten)
}

// AppendRecord and Walk are what is in files.
var (
	AppendRecord = appendRecord
	Escape       = escape
	Unescape     = unescape
)

// Texts are those of the records that are whole, and whether there was damage
// between them.
func Texts(data []byte) (out []string, end int, damaged bool) {
	end, damaged = walk(data, func(r record) bool {
		out = append(out, r.line("", "").Text)
		return true
	})
	return out, end, damaged
}
