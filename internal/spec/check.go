package spec

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/runnel-io/runnel"
)

// comingKinds are the kinds of references that a later release knows.
var comingKinds = []string{"kafka", "sqs", "redis", "servicebus", "eventhubs"}

// check looks at values and references when all is read, and completes the
// flows.
func (d *decoder) check() {
	for _, f := range d.Functions {
		path := "functions." + d.written[f.Name]
		d.add(path, f.Validate())
		d.add(path, d.opt.checkSource(f))
	}
	declared := make(map[string]*runnel.QueueDeadLetter, len(d.Queues))
	for _, q := range d.Queues {
		declared[q.Name] = q.DeadLetter
	}
	// First, so that flows can refer to what this implies.
	for i := range d.Flows {
		d.completeDeadLetter(&d.Flows[i], declared)
	}
	for _, q := range d.Queues {
		path := "queues." + q.Name
		d.add(path, checkQueue(q))
		if q.DeadLetter != nil && q.DeadLetter.Queue != "" && q.DeadLetter.Queue != q.Name {
			d.add(path, d.queueExists("dead_letter.queue", q.DeadLetter.Queue, declared))
		}
	}
	for i := range d.Flows {
		f := &d.Flows[i]
		path := "flows." + f.Name
		d.add(path, f.Validate())
		source, err := d.checkRef("from", f.From, declared)
		d.add(path, err)
		for i, to := range f.To {
			_, err := d.checkRef(fmt.Sprintf("to[%d]", i), to, declared)
			d.add(path, err)
		}
		d.add(path, d.checkCall(f))
		if f.Filter != "" && d.opt.CheckFilter != nil {
			if err := d.opt.CheckFilter(f.Filter); err != nil {
				d.add(path, field("filter", "%w", err))
			}
		}
		if _, said := d.lines[path+".dead_letter"]; !said {
			continue // completed
		}
		if dead, err := d.checkRef("dead_letter", f.DeadLetter, declared); err != nil {
			d.add(path, err)
		} else if dead != "" && dead == source {
			d.add(path, field("dead_letter", "%s is the flow's own source: its dead letters would come back for ever", f.DeadLetter))
		}
	}
}

// completeDeadLetter says where the dead letters go of a flow that does not:
// to the dead-letter queue of its source, or to a queue of its own.
func (d *decoder) completeDeadLetter(f *runnel.Flow, declared map[string]*runnel.QueueDeadLetter) {
	path := "flows." + f.Name
	source, ok := strings.CutPrefix(string(f.From), "queue:")
	if f.DeadLetter != "" || d.isBad(path+".dead_letter") || !ok || !isName(source, 80) || !isName(f.Name, 64) {
		return // nothing to complete, or a fault already
	}
	queue := ""
	if of, ok := declared[source]; ok && of != nil {
		queue = of.Queue
	} else if !ok && d.opt.DeadLetters != nil {
		queue = d.opt.DeadLetters(source)
	}
	if queue == "" {
		queue = f.Name + "-dead"
	}
	if queue == source {
		if of := declared[source]; of == nil { // else it is the queue's fault
			d.add(path, field("dead_letter", "is missing: where its dead letters went else, queue:%s, is the flow's own source", queue))
		}
		return
	}
	if _, ok := declared[queue]; !ok && queue == f.Name+"-dead" {
		declared[queue] = nil
		d.Queues = append(d.Queues, runnel.Queue{Name: queue})
		d.Implied = append(d.Implied, queue)
	}
	f.DeadLetter = runnel.Ref("queue:" + queue)
}

// checkRef returns the queue that a reference names, "" where it names none.
// What is wrong with its form is Validate's to say.
func (d *decoder) checkRef(path string, r runnel.Ref, declared map[string]*runnel.QueueDeadLetter) (string, error) {
	kind, name, err := r.Split()
	if err != nil {
		return "", nil
	}
	if kind != "queue" {
		for _, k := range comingKinds {
			if kind == k {
				return "", field(path, "%s is not in this release, which has queue:NAME; %s are to come", kind, quoteList(comingKinds))
			}
		}
		return "", field(path, "there is no kind %q: this release has queue:NAME; %s are to come", kind, quoteList(comingKinds))
	}
	if !isName(name, 80) {
		return "", field(path, "%q is not the name of a queue: want 1 to 80 letters, digits, hyphens and underscores", name)
	}
	return name, d.queueExists(path, name, declared)
}

func (d *decoder) queueExists(path, name string, declared map[string]*runnel.QueueDeadLetter) error {
	if _, ok := declared[name]; ok || d.opt.Queues != nil && d.opt.Queues(name) {
		return nil
	}
	var names []string
	for _, q := range d.Queues {
		names = append(names, q.Name)
	}
	return field(path, "there is no queue %s%s", name, meant(name, names, "queues"))
}

// checkCall completes the name of the function and looks for it.
func (d *decoder) checkCall(f *runnel.Flow) error {
	if f.Call == "" {
		return nil // Validate has said so
	}
	name, version, at := strings.Cut(f.Call, "@")
	full := d.complete(name)
	owner, bare, _ := strings.Cut(full, "/")
	if !isName(owner, 64) || !isName(bare, 64) || at && strings.Trim(version, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.*") != "" || at && version == "" {
		return field("call", "%q is not a function: want NAME or OWNER/NAME, then perhaps @VERSION, as in demo/resize@live", f.Call)
	}
	f.Call = full
	if at {
		f.Call += "@" + version
	}
	if _, ok := d.written[full]; ok || d.opt.Functions != nil && d.opt.Functions(full) {
		return nil
	}
	var names []string
	for _, fn := range d.Functions {
		names = append(names, d.written[fn.Name])
	}
	hint := meant(name, names, "functions")
	if owner != d.Account {
		// The right name with a wrong owner.
		for _, n := range names {
			if n == bare {
				hint = ", did you mean " + n + "?"
			}
		}
	}
	return field("call", "there is no function %s%s", full, hint)
}

// meant ends a sentence that says that there is no such name.
func meant(name string, names []string, section string) string {
	if len(names) > 500 {
		names = nil // it would take long
	}
	if got := Closest(name, names); got != "" {
		return ", did you mean " + got + "?"
	}
	return ": declare it in the section " + section
}

// checkQueue holds the limits of Amazon SQS, which are those of runnel.Queue.
func checkQueue(q runnel.Queue) error {
	var faults []error
	if !isName(q.Name, 80) {
		faults = append(faults, field("name", "%q is not a name: want 1 to 80 letters, digits, hyphens and underscores", q.Name))
	}
	duration := func(key string, d *time.Duration, least, most time.Duration, words string) {
		if d != nil && (*d < least || *d > most) {
			faults = append(faults, field(key, "%s is not between %s", *d, words))
		}
	}
	duration("visibility_timeout", q.VisibilityTimeout, 0, 12*time.Hour, "0s and 12h")
	duration("delay", q.Delay, 0, 15*time.Minute, "0s and 15m")
	duration("retention", q.Retention, time.Minute, 14*24*time.Hour, "1m and 14d")
	duration("receive_wait", q.ReceiveWait, 0, 20*time.Second, "0s and 20s")
	if q.MaxMessage != 0 && (q.MaxMessage < 1<<10 || q.MaxMessage > 1<<20) {
		faults = append(faults, field("max_message", "%d bytes is not between 1KiB and 1MiB", q.MaxMessage))
	}
	if dl := q.DeadLetter; dl != nil {
		switch dl.Queue {
		case "":
			faults = append(faults, field("dead_letter.queue", "is missing: want the name of a queue, as in images-dead"))
		case q.Name:
			faults = append(faults, field("dead_letter.queue", "is the queue itself"))
		}
		if n := dl.MaxReceives; n != 0 && (n < 1 || n > 1000) {
			faults = append(faults, field("dead_letter.max_receives", "%d is not between 1 and 1000", n))
		}
	}
	return errors.Join(faults...)
}
