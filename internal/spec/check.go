package spec

import (
	"fmt"
	"strings"

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
		d.add(path, q.Validate())
		if q.DeadLetter != nil && q.DeadLetter.Queue != "" && q.DeadLetter.Queue != q.Name {
			d.add(path, d.queueExists("dead_letter.queue", q.DeadLetter.Queue, declared))
			d.add(path, d.checkRedriveAllow(q))
		}
	}
	for i, t := range d.QueueTemplates {
		path := fmt.Sprintf("queue_templates[%d]", i)
		d.add(path, t.Validate())
		if t.DeadLetter != nil && t.DeadLetter.Queue != "" {
			d.add(path, d.queueExists("dead_letter.queue", t.DeadLetter.Queue, declared))
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
	if f.DeadLetter != "" || d.isBad(path+".dead_letter") || !ok || !runnel.IsQueueName(source) || !isName(f.Name, 64) {
		return // nothing to complete, or a fault already
	}
	queue := ""
	if of, ok := declared[source]; ok && of != nil {
		queue = of.Queue
	} else if !ok && d.opt.DeadLetters != nil {
		queue = d.opt.DeadLetters(source)
	}
	if queue == "" {
		queue = f.ImpliedDeadLetter()
	}
	if queue == source {
		if of := declared[source]; of == nil { // else it is the queue's fault
			d.add(path, field("dead_letter", "is missing: where its dead letters went else, queue:%s, is the flow's own source", queue))
		}
		return
	}
	if _, ok := declared[queue]; !ok && queue == f.ImpliedDeadLetter() {
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
	if !runnel.IsQueueName(name) {
		return "", field(path, "%q is not the name of a queue: want 1 to 80 letters, digits, hyphens and underscores, and perhaps .fifo", name)
	}
	return name, d.queueExists(path, name, declared)
}

func (d *decoder) queueExists(path, name string, declared map[string]*runnel.QueueDeadLetter) error {
	if _, ok := declared[name]; ok || d.opt.Queues != nil && d.opt.Queues(name) {
		return nil
	}
	for _, t := range d.QueueTemplates {
		if _, ok := t.For(name); ok {
			return nil
		}
	}
	var names []string
	for _, q := range d.Queues {
		names = append(names, q.Name)
	}
	return field(path, "there is no queue %s%s", name, meant(name, names, "queues"))
}

// checkRedriveAllow says whether the dead-letter queue of a queue, if the file
// declares it, lets that use it.
func (d *decoder) checkRedriveAllow(q runnel.Queue) error {
	for _, dead := range d.Queues {
		if dead.Name == q.DeadLetter.Queue && !dead.Allows(q.Name) {
			return field("dead_letter.queue", "the redrive_allow of %s does not allow it", dead.Name)
		}
	}
	return nil
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
