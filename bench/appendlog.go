package main

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"
)

// maxGroup is how many records share an fsync at most.
const maxGroup = 1024

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// appendLog is what the queue is held against: the least that a durable append
// can do. One goroutine takes what is waiting, without waiting for more,
// writes it with one write(2), as length, CRC-32C and data of each record,
// calls fdatasync, and wakes those who wait. Nothing is ever read, removed or
// indexed.
type appendLog struct {
	file  *os.File
	queue chan *record // closed by close
	ended chan error   // the writer's last word
}

// record is one append that is under way. It can be used again when done was
// received from.
type record struct {
	data []byte
	done chan error // capacity 1
}

func openAppendLog(path string) (*appendLog, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	l := &appendLog{file: f, queue: make(chan *record, maxGroup), ended: make(chan error, 1)}
	go l.write()
	return l, nil
}

// append returns when the record is durable.
func (l *appendLog) append(r *record) error {
	l.queue <- r
	return <-r.done
}

// write is the writer: it owns the file until the queue is closed.
func (l *appendLog) write() {
	var group []*record
	var buf []byte
	for r := range l.queue {
		group, buf = append(group[:0], r), appendRecord(buf[:0], r.data)
	gather:
		for len(group) < maxGroup {
			select {
			case r, ok := <-l.queue:
				if !ok {
					break gather
				}
				group, buf = append(group, r), appendRecord(buf, r.data)
			default:
				break gather
			}
		}
		_, err := l.file.Write(buf)
		if err == nil {
			err = datasync(l.file)
		}
		for _, r := range group {
			r.done <- err
		}
	}
	l.ended <- l.file.Close()
}

func (l *appendLog) close() error {
	close(l.queue)
	return <-l.ended
}

func appendRecord(buf, data []byte) []byte {
	buf = binary.LittleEndian.AppendUint32(buf, uint32(len(data)))
	buf = binary.LittleEndian.AppendUint32(buf, crc32.Checksum(data, castagnoli))
	return append(buf, data...)
}

// appendLogCommand is the child process that measures the log. It prints the
// same figures as runnel load, as far as it has them.
func appendLogCommand(args []string, out io.Writer) error {
	flags := flag.NewFlagSet("appendlog", flag.ContinueOnError)
	producers := flags.Int("producers", 64, "how many append at once")
	size := flags.Int("size", 1024, "bytes of a record")
	duration := flags.Duration("duration", 5*time.Second, "for how long")
	dir := flags.String("dir", "", "directory of the log")
	if err := flags.Parse(args); err != nil {
		return err
	}
	path := filepath.Join(*dir, "append.log")
	l, err := openAppendLog(path)
	if err != nil {
		return err
	}
	filler := make([]byte, 1<<20+*size)
	for i := range filler {
		filler[i] = byte(rand.Uint32())
	}
	times := make([][]time.Duration, *producers)
	errs := make([]error, *producers)
	begin, cpu, written := time.Now(), cpuNow(), writtenBytes()
	var wg sync.WaitGroup
	for i := range *producers {
		wg.Go(func() {
			r := &record{data: make([]byte, *size), done: make(chan error, 1)}
			for start := time.Now(); start.Sub(begin) < *duration; {
				copy(r.data, filler[rand.IntN(1<<20):])
				if errs[i] = l.append(r); errs[i] != nil {
					return
				}
				now := time.Now()
				times[i] = append(times[i], now.Sub(start))
				start = now
			}
		})
	}
	wg.Wait()
	took, used, bytes := time.Since(begin), cpuNow()-cpu, writtenBytes()-written
	if err := errors.Join(append(errs, l.close(), os.Remove(path))...); err != nil {
		return err
	}
	all := slices.Concat(times...)
	if len(all) == 0 {
		return errors.New("nothing was appended")
	}
	slices.Sort(all)
	ms := func(q float64) float64 { return float64(all[int(q*float64(len(all)-1))]) / 1e6 }
	n := float64(len(all))
	f := figures{
		Mode: "append", Messages: int64(n), Seconds: took.Seconds(), Rate: n / took.Seconds(),
		CPU: float64(used.Microseconds()) / n, WrittenBytes: float64(bytes) / n,
		Durability: "fsync before acknowledgement",
	}
	f.Send = &phase{Messages: int64(n), Seconds: f.Seconds, Rate: f.Rate}
	f.Send.Latency = &latency{P50: ms(0.5), P99: ms(0.99), P999: ms(0.999), Max: ms(1)}
	return json.NewEncoder(out).Encode(f)
}

// cpuNow is the processor time of this process.
func cpuNow() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
