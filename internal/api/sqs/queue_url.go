package sqs

import (
	"strings"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/queue"
)

// A queue's URL is SCHEME://HOST/ACCOUNT/NAME, ACCOUNT being the 12 digits of
// its account. On input only the path counts: clients in containers and behind
// proxies see hosts of their own. Segments before the last two are passed
// over, as in http://localhost:4566/queue/us-east-1/000000000000/images; a path
// alone and a bare name do as well.

// addressed is a queue that a caller may use.
type addressed struct {
	*queue.Queue
	accountID string
}

// queueAt finds the queue of a QueueUrl parameter; if that is empty, the one
// at the path of the request.
func (c *call) queueAt(url string) (addressed, error) {
	account, name := c.splitURL(url)
	return c.queueOf(account, name)
}

// useAt is queueAt for actions that may be the first use of a queue.
func (c *call) useAt(url string) (addressed, error) {
	account, name := c.splitURL(url)
	return c.useOf(account, name)
}

// splitURL is splitURL of a QueueUrl parameter, which may be empty.
func (c *call) splitURL(url string) (account, name string) {
	if url == "" {
		url = c.r.URL.Path
	}
	return splitURL(url)
}

// queueOf finds a queue of an account, the caller's own if account is empty.
func (c *call) queueOf(account, name string) (addressed, error) { return c.find(account, name, false) }

// useOf is queueOf for actions that may be the first use of a queue.
func (c *call) useOf(account, name string) (addressed, error) { return c.find(account, name, true) }

func (c *call) find(account, name string, use bool) (addressed, error) {
	if name == "" {
		return addressed{}, queueDoesNotExist.says(textNoQueue)
	}
	accountName, accountID, err := c.account(account)
	if err != nil {
		return addressed{}, err
	}
	full := queue.Name{Account: accountName, Queue: name}
	q, err := c.door.queues.Queue(full)
	if use && runnel.CodeOf(err) == runnel.CodeNotFound {
		q, err = c.door.firstUse(c.r.Context(), full)
	}
	if err != nil {
		return addressed{}, err
	}
	return addressed{q, accountID}, nil
}

// account returns the name and id of the account that is meant by an id, or
// by the name of the caller's own account. All but admins have only the
// latter; they are not told which others there are.
func (c *call) account(account string) (name, id string, err error) {
	switch {
	case account == "", account == c.caller.AccountID, account == c.caller.Account:
		return c.caller.Account, c.caller.AccountID, nil
	case !c.caller.Admin:
		return "", "", accessDenied.says("Access to the resources of account %.80q is denied: this key is of account %s.", account, c.caller.AccountID)
	case c.door.accounts == nil:
		return "", "", queueDoesNotExist.says(textNoQueue)
	}
	name, err = c.door.accounts.AccountName(c.r.Context(), account)
	if runnel.CodeOf(err) == runnel.CodeNotFound {
		return "", "", queueDoesNotExist.says(textNoQueue)
	}
	return name, account, err
}

// splitURL returns the last two segments of a URL's path. Of a bare name there
// is no account.
func splitURL(url string) (account, name string) {
	if _, rest, ok := strings.Cut(url, "://"); ok {
		_, url, _ = strings.Cut(rest, "/")
	}
	if end := strings.IndexAny(url, "?#"); end >= 0 {
		url = url[:end]
	}
	url = strings.Trim(url, "/")
	slash := strings.LastIndexByte(url, '/')
	if slash < 0 {
		return "", url
	}
	account, name = url[:slash], url[slash+1:]
	return account[strings.LastIndexByte(account, '/')+1:], name
}

// isQueuePath says whether a path can be that of a queue.
func isQueuePath(path string) bool {
	account, name := splitURL(path)
	return account != "" && name != ""
}

// url returns the URL of a queue.
func (c *call) url(accountID, name string) string {
	base := c.door.publicURL
	if base == "" {
		base = "http://"
		if c.r.TLS != nil {
			base = "https://"
		}
		base += c.r.Host
	}
	return base + "/" + accountID + "/" + name
}

// arn returns the ARN of a queue.
func (d *Door) arn(accountID, name string) string {
	return "arn:aws:sqs:" + d.region + ":" + accountID + ":" + name
}

// splitARN takes the ARN of a queue apart. Partition and region do not matter:
// there is one of each.
func splitARN(arn string) (accountID, name string, ok bool) {
	parts := strings.Split(arn, ":")
	if len(parts) != 6 || parts[0] != "arn" || parts[2] != "sqs" {
		return "", "", false
	}
	return parts[4], parts[5], true
}

// checkQueueName refuses names that no queue can have.
func checkQueueName(name string) error {
	if (queue.Name{Queue: name}).Validate() != nil {
		return invalidParameterValue.says(textQueueName)
	}
	return nil
}
