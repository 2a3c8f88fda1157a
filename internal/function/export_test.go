package function

// Requirements returns the lines of requirements.txt that say something, and
// of each whether it means the same in every source.
func Requirements(text string) (lines []string, same []bool) {
	for _, line := range requirements([]byte(text)) {
		lines, same = append(lines, line), append(same, remote(line))
	}
	return lines, same
}

// RunStep is what Options.Run is by default.
var RunStep = runStep

// Lines returns what of the writes goes to the build log.
func Lines(writes ...string) (all []string) {
	w, end := LineWriter(func(line string) { all = append(all, line) })
	for _, text := range writes {
		_, _ = w.Write([]byte(text))
	}
	end()
	return all
}
