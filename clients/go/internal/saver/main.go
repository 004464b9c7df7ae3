// Command saver saves 4 KiB again and again for the benchmarks. Each line of its input is a turn, "CALLERS SECONDS"; it
// answers with the number of saves, the seconds that they took, and the CPU seconds of this process in them.
//
//	saver TARGET
package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"fmt"
	"log"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"holdfast.dev/go/holdfast"
)

var format = holdfast.Format{Name: "bench", Version: 1}

func main() {
	client, err := holdfast.NewClient(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	run := rand.Text()
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		var callers int
		var seconds float64
		if _, err := fmt.Sscan(lines.Text(), &callers, &seconds); err != nil {
			log.Fatal(err)
		}
		used, started := cpuSeconds(), time.Now()
		count := turn(client, run, callers, started.Add(time.Duration(seconds*float64(time.Second))))
		fmt.Println(count, time.Since(started).Seconds(), cpuSeconds()-used)
	}
}

// Lets all callers save until a time, and returns the number of saves.
func turn(client *holdfast.Client, run string, callers int, ends time.Time) int64 {
	payload := make([]byte, 4096)
	_, _ = rand.Read(payload)
	var count atomic.Int64
	var running sync.WaitGroup
	for caller := range callers {
		running.Go(func() {
			workflow := run + strconv.Itoa(caller)
			for time.Now().Before(ends) {
				parts := holdfast.Bytes(payload)
				if _, err := client.Save(context.Background(), "bench", workflow, parts, format, holdfast.SaveOptions{}); err != nil {
					log.Fatal(err)
				}
				count.Add(1)
			}
		})
	}
	running.Wait()
	return count.Load()
}

func cpuSeconds() float64 {
	var usage syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()).Seconds()
}
