package main

import (
	"context"
	"fmt"
	"time"
)

// nap is what the watch for disturbance sleeps at a time.
const nap = 20 * time.Millisecond

// disturbance tells how much the machine was busy with other things while f ran: how much longer than nap a sleep took. On
// an idle machine that is well below a millisecond. Where it is not, the figures of this time are rough, too.
func disturbance(f func()) string {
	ctx, cancel := context.WithCancel(context.Background())
	watched := make(chan []time.Duration)
	go func() {
		var late []time.Duration
		for len(late) == 0 || ctx.Err() == nil {
			began := time.Now()
			time.Sleep(nap)
			late = append(late, time.Since(began)-nap)
		}
		watched <- late
	}()
	f()
	cancel()
	late := <-watched
	return fmt.Sprintf("a sleep of %s took %s more meanwhile, %s at the 95th percentile, load average %s",
		nap, show(mean(late)), show(percentile(late, 95)), load())
}
