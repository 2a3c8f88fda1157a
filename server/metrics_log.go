package server

import (
	"cmp"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/runnel-io/runnel/internal/journal"
)

// maxLogged is how many functions, those with most lines, have metrics of their
// logs.
const maxLogged = 1000

var (
	logLines      = prometheus.NewDesc("runnel_log_lines_total", "Lines of logs of the function that were kept; of flows without a function: function is empty.", []string{"function"}, nil)
	logDropped    = prometheus.NewDesc("runnel_log_lines_dropped_total", "Lines of logs of the function that were over its rate.", []string{"function"}, nil)
	logsLeftOut   = prometheus.NewDesc("runnel_log_functions_left_out", "Functions whose lines have no metrics of their own, since there are too many.", nil, nil)
	logUnwritten  = prometheus.NewDesc("runnel_log_lines_unwritten_total", "Lines of logs that came faster than the disk took them, and are not on it.", nil, nil)
	logDiskBytes  = prometheus.NewDesc("runnel_log_disk_bytes", "Bytes of the files of logs.", nil, nil)
	logDiskFailed = prometheus.NewDesc("runnel_log_disk_failing", "1 while the disk takes no lines of logs and they are in memory only, else 0.", nil, nil)
)

func describeLogs(ch chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{logLines, logDropped, logsLeftOut, logUnwritten, logDiskBytes, logDiskFailed} {
		ch <- desc
	}
}

func (c collector) collectLogs(send sender) {
	st := c.server.logs.Stats()
	send(logsLeftOut, gauge, float64(max(0, len(st.Functions)-maxLogged)))
	if len(st.Functions) > maxLogged {
		slices.SortFunc(st.Functions, func(a, b journal.FunctionStats) int {
			return cmp.Or(cmp.Compare(b.Lines+b.Dropped, a.Lines+a.Dropped), cmp.Compare(a.Function, b.Function))
		})
	}
	for _, f := range st.Functions[:min(len(st.Functions), maxLogged)] {
		send(logLines, counter, float64(f.Lines), f.Function)
		send(logDropped, counter, float64(f.Dropped), f.Function)
	}
	send(logUnwritten, counter, float64(st.Unwritten))
	send(logDiskBytes, gauge, float64(st.DiskBytes))
	send(logDiskFailed, gauge, oneIf(st.Failing))
}
