package server

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/runnel-io/runnel/internal/collection"
)

func dataMetric(kind prometheus.ValueType, name, help string, value func(collection.Stats) float64) metric[collection.Stats] {
	return metric[collection.Stats]{prometheus.NewDesc("runnel_data_"+name, help, nil, nil), kind, value}
}

var dataMetrics = []metric[collection.Stats]{
	dataMetric(counter, "files_written_total", "Hosted files that were written.", func(s collection.Stats) float64 { return float64(s.Written) }),
	dataMetric(counter, "written_bytes_total", "Bytes of the hosted files that were written.", func(s collection.Stats) float64 { return float64(s.WrittenBytes) }),
	dataMetric(counter, "files_read_total", "Hosted files that were opened for reading.", func(s collection.Stats) float64 { return float64(s.Read) }),
	dataMetric(counter, "files_removed_total", "Hosted files that were deleted, by request or by age.", func(s collection.Stats) float64 { return float64(s.Removed) }),
	dataMetric(gauge, "uploads", "Hosted files over 64 KiB that are being written.", func(s collection.Stats) float64 { return float64(s.Uploads) }),
}

func describeData(ch chan<- *prometheus.Desc) {
	for _, m := range dataMetrics {
		ch <- m.desc
	}
}

func (c collector) collectData(send sender) {
	st := c.server.collections.Stats()
	for _, m := range dataMetrics {
		send(m.desc, m.kind, m.value(st))
	}
}
