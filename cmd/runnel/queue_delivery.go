package main

import (
	"fmt"
	"strconv"

	"github.com/spf13/cobra"
)

func newQueueDeliveryCommand() *cobra.Command {
	var shuffle, normal bool
	var duplicate float64
	cmd := &cobra.Command{
		Use:   "delivery QUEUE --normal | [--shuffle] [--duplicate SHARE]",
		Short: "Deliver in random order, or some messages twice, to teach and to test",
		Long: `Have a standard queue do what standard queues are allowed to do and a server on one
machine seldom does, to see how consumers take it.

With --shuffle a receive takes messages at random from those that wait: none
overtakes one that is 32 places or more before it. What waits alone has nothing
to be shuffled with. With --duplicate 0.01 one in a hundred deliveries to SQS
clients is followed by a second one of the same message, with its own receipt,
perhaps to another client, within the visibility timeout. Deleting either deletes
the message. Flows get no second deliveries.

What is not said is off. It is remembered across restarts.`,
		Example: `  runnel queue delivery images --shuffle --duplicate 0.01
  runnel queue delivery images --normal`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			odd := shuffle || cmd.Flags().Changed("duplicate")
			switch {
			case normal == odd:
				return &usageError{"say either --normal, or --shuffle or --duplicate SHARE"}
			case !(duplicate >= 0 && duplicate <= 1):
				return &usageError{fmt.Sprintf("--duplicate %v: want a share from 0 to 1, as in 0.01", duplicate)}
			}
			in := struct {
				Delivery  string  `json:"delivery,omitempty"`
				Duplicate float64 `json:"duplicate,omitempty"`
			}{Duplicate: duplicate}
			how := "in order"
			if shuffle {
				in.Delivery, how = "shuffle", "shuffled"
			}
			c, err := newClient(cmd)
			if err != nil {
				return err
			}
			ctx := cmd.Context()
			path, err := c.path(ctx, queueKind, args[0])
			if err != nil {
				return err
			}
			if err := c.do(ctx, "PUT", path+"/delivery", in, nil); err != nil {
				return c.suggest(ctx, queueKind, args[0], err)
			}
			if duplicate > 0 {
				how += ", a share of " + strconv.FormatFloat(duplicate, 'g', -1, 64) + " twice"
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "queue %s delivers %s\n", args[0], how)
			return err
		},
	}
	addClientFlags(cmd)
	cmd.Flags().BoolVar(&shuffle, "shuffle", false, "in random order, within 32 places")
	cmd.Flags().Float64Var(&duplicate, "duplicate", 0, "deliver this `share` of messages a second time, 0 to 1")
	cmd.Flags().BoolVar(&normal, "normal", false, "in order, and each once")
	return cmd
}
