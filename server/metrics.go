package server

import (
	"net/http"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/runnel-io/runnel/internal/queue"
	"github.com/runnel-io/runnel/internal/store"
)

// metrics renders the Stats structs of the core for Prometheus, when asked.
func (s *Server) metrics() http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		collector{s},
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
}

// adminOnly passes on requests of admins.
func (s *Server) adminOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		caller, err := s.auth.Verify(r, nil, "runnel")
		switch {
		case err != nil:
			w.Header().Set("WWW-Authenticate", `Bearer realm="runnel"`)
			plain(w, http.StatusUnauthorized, "this needs an admin key: send Authorization: Bearer ID.SECRET\n")
		case !caller.Admin:
			plain(w, http.StatusForbidden, "this needs an admin key\n")
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// metric is one number of a struct of type S.
type metric[S any] struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(S) float64
}

func queueMetric(kind prometheus.ValueType, name, help string, value func(queue.Stats) float64) metric[queue.Stats] {
	return metric[queue.Stats]{prometheus.NewDesc("runnel_queue_"+name, help, []string{"account", "queue"}, nil), kind, value}
}

func storeMetric(kind prometheus.ValueType, name, help string, value func(store.Stats) float64) metric[store.Stats] {
	return metric[store.Stats]{prometheus.NewDesc("runnel_store_"+name, help, nil, nil), kind, value}
}

func oneIf(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// maxQueues is how many queues, by name, have metrics of their own.
const maxQueues = 10_000

const (
	counter = prometheus.CounterValue
	gauge   = prometheus.GaugeValue
)

var (
	buildInfo = prometheus.NewDesc("runnel_build_info", "What runs here; the value is 1.", []string{"version", "go"}, nil)

	queueMessages = prometheus.NewDesc("runnel_queue_messages", "Messages in the queue, exactly.",
		[]string{"account", "queue", "state"}, nil)

	queueAge = prometheus.NewDesc("runnel_queue_oldest_age_seconds", "How long ago the first visible message was sent; 0 if there is none.",
		[]string{"account", "queue"}, nil)
	// Only of FIFO queues.
	queueGroups = prometheus.NewDesc("runnel_queue_groups", "Message groups with a message in flight, or waiting in memory.",
		[]string{"account", "queue"}, nil)
	queueLocked = prometheus.NewDesc("runnel_queue_groups_locked", "Message groups with a message in flight.",
		[]string{"account", "queue"}, nil)
	queueDeduplicated = prometheus.NewDesc("runnel_queue_deduplicated_total", "Sends that were answered and not stored, as duplicates.",
		[]string{"account", "queue"}, nil)
	queuesLeftOut = prometheus.NewDesc("runnel_queues_left_out", "Queues that have no metrics of their own, since there are too many.", nil, nil)

	queueMetrics = []metric[queue.Stats]{
		queueMetric(gauge, "receivers", "Receives that wait for a message.", func(s queue.Stats) float64 { return float64(s.Receivers) }),
		queueMetric(gauge, "paused", "1 while receives find nothing since the queue is paused, else 0.", func(s queue.Stats) float64 { return oneIf(s.Paused) }),
		queueMetric(gauge, "cached_bytes", "Bytes of waiting messages in memory.", func(s queue.Stats) float64 { return float64(s.Cached) }),
		queueMetric(counter, "sent_total", "Messages that were stored.", func(s queue.Stats) float64 { return float64(s.Sent) }),
		queueMetric(counter, "received_total", "Deliveries.", func(s queue.Stats) float64 { return float64(s.Received) }),
		queueMetric(counter, "moved_total", "Messages that were moved out by hand or by a move task.", func(s queue.Stats) float64 { return float64(s.Moved) }),
		queueMetric(counter, "duplicated_total", "Second deliveries that the duplicate of the queue asked for.", func(s queue.Stats) float64 { return float64(s.Duplicated) }),
		queueMetric(counter, "deleted_total", "Messages that were deleted or acked.", func(s queue.Stats) float64 { return float64(s.Deleted) }),
		queueMetric(counter, "expired_total", "Messages that were removed since nobody took them within the retention.", func(s queue.Stats) float64 { return float64(s.Expired) }),
		queueMetric(counter, "dead_lettered_total", "Messages that were moved to a dead-letter queue.", func(s queue.Stats) float64 { return float64(s.DeadLettered) }),
	}

	storeMetrics = []metric[store.Stats]{
		storeMetric(counter, "commits_total", "Commits that were fsynced.", func(s store.Stats) float64 { return float64(s.Commits) }),
		storeMetric(counter, "batches_total", "Batches that shared the commits of runnel_store_commits_total.", func(s store.Stats) float64 { return float64(s.Batches) }),
		storeMetric(counter, "commit_bytes_total", "Bytes that were handed to the engine in commits.", func(s store.Stats) float64 { return float64(s.CommitBytes) }),
		storeMetric(counter, "commit_seconds_total", "Time that the commits of runnel_store_commits_total took, fsync included.", func(s store.Stats) float64 { return s.CommitTime.Seconds() }),
		storeMetric(counter, "flushed_bytes_total", "Bytes written by flushes, besides the log.", func(s store.Stats) float64 { return float64(s.FlushedBytes) }),
		storeMetric(counter, "compacted_bytes_total", "Bytes written by compactions.", func(s store.Stats) float64 { return float64(s.CompactedBytes) }),
		storeMetric(gauge, "write_queue", "Batches that wait for the writer.", func(s store.Stats) float64 { return float64(s.WriteQueue) }),
		storeMetric(gauge, "disk_bytes", "Bytes of the data files in use.", func(s store.Stats) float64 { return float64(s.DiskBytes) }),
		storeMetric(gauge, "wal_bytes", "Bytes of the log among them.", func(s store.Stats) float64 { return float64(s.WALBytes) }),
		storeMetric(gauge, "memtable_bytes", "Bytes of memtables in memory.", func(s store.Stats) float64 { return float64(s.MemTableBytes) }),
		storeMetric(gauge, "cache_bytes", "Bytes of the block cache in memory.", func(s store.Stats) float64 { return float64(s.CacheBytes) }),
		storeMetric(gauge, "no_room", "1 while the disk has less free space than the reserve and sends are refused, else 0.", func(s store.Stats) float64 {
			return oneIf(s.NoRoom)
		}),
	}

	// Apart, since it is unknown until the store has asked.
	storeFree = prometheus.NewDesc("runnel_store_free_bytes", "Free bytes of the filesystem, when the store last asked.", nil, nil)
)

// collector reads the figures of a server.
type collector struct{ server *Server }

// Describe implements prometheus.Collector.
func (c collector) Describe(ch chan<- *prometheus.Desc) {
	ch <- buildInfo
	for _, desc := range []*prometheus.Desc{queueMessages, queueAge, queueGroups, queueLocked, queueDeduplicated, queuesLeftOut} {
		ch <- desc
	}
	for _, m := range queueMetrics {
		ch <- m.desc
	}
	describeFlows(ch)
	describeLogs(ch)
	describeData(ch)
	for _, m := range storeMetrics {
		ch <- m.desc
	}
	ch <- storeFree
}

// Collect implements prometheus.Collector.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	send := func(desc *prometheus.Desc, kind prometheus.ValueType, value float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(desc, kind, value, labels...)
	}
	send(buildInfo, gauge, 1, c.server.cfg.Version, runtime.Version())
	now := time.Now()
	all := c.server.queues.Stats()
	send(queuesLeftOut, gauge, float64(max(0, len(all)-maxQueues)))
	for _, st := range all[:min(len(all), maxQueues)] {
		account, name := st.Name.Account, st.Name.Queue
		send(queueMessages, gauge, float64(st.Depth.Visible), account, name, "visible")
		send(queueMessages, gauge, float64(st.Depth.InFlight), account, name, "in_flight")
		send(queueMessages, gauge, float64(st.Depth.Delayed), account, name, "delayed")
		for _, m := range queueMetrics {
			send(m.desc, m.kind, m.value(st), account, name)
		}
		age := 0.0
		if !st.Oldest.IsZero() {
			age = max(0, now.Sub(st.Oldest).Seconds())
		}
		send(queueAge, gauge, age, account, name)
		if st.FIFO {
			send(queueGroups, gauge, float64(st.Groups), account, name)
			send(queueLocked, gauge, float64(st.Locked), account, name)
			send(queueDeduplicated, counter, float64(st.Deduplicated), account, name)
		}
	}
	c.collectFlows(ch, send)
	c.collectLogs(send)
	c.collectData(send)
	st := c.server.store.Stats()
	for _, m := range storeMetrics {
		send(m.desc, m.kind, m.value(st))
	}
	if st.FreeBytes > 0 {
		send(storeFree, gauge, float64(st.FreeBytes))
	}
}
