// SPDX-License-Identifier: Apache-2.0

package links

import (
	"errors"
	"fmt"
	"runtime"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Interfaces come and go while the list is read, in a network namespace that ends with its threads.
func TestAListThatChangesIsReadAgain(t *testing.T) {
	t.Parallel()
	inside := make(chan error)
	go func() { // the thread is not unlocked, so that it ends with the goroutine
		runtime.LockOSThread()
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			inside <- err
			return
		}
		inside <- changes(t)
	}()
	if err := <-inside; err != nil {
		t.Fatal(err)
	}
}

func changes(t *testing.T) error {
	const kept = 100 // enough for several answers of the kernel
	for i := range kept {
		if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: fmt.Sprintf("kept%d", i)}}); err != nil {
			return err
		}
	}
	other, err := netlink.NewHandle() // its sockets belong to this namespace
	if err != nil {
		return err
	}
	defer other.Close()
	end, ended := make(chan struct{}), make(chan error)
	go func() {
		for {
			select {
			case <-end:
				ended <- nil
				return
			default:
			}
			changing := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "changing"}}
			if err := errors.Join(other.LinkAdd(changing), other.LinkDel(changing)); err != nil {
				ended <- err
				return
			}
		}
	}()
	interrupted := 0
	for range 200 {
		if _, err := netlink.LinkList(); errors.Is(err, netlink.ErrDumpInterrupted) { //nolint:forbidigo // what the kernel says without package links
			interrupted++
		}
		all, err := All()
		if err != nil {
			return err
		}
		if len(all) < kept+1 { // and lo
			t.Errorf("%d interfaces; %d are there all the time", len(all), kept+1)
		}
	}
	t.Logf("%d of 200 lists were interrupted", interrupted)
	close(end)
	return <-ended
}
