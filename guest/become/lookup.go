// SPDX-License-Identifier: Apache-2.0

//go:build linux

package become

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/moby/sys/user"
	"golang.org/x/sys/unix"
)

// maxList limits the lists of users and groups of a container. husk-init reads them too, in the memory of the pod.
const maxList = 4 << 20

// LookUpUser finds a user in the files of the container in which it runs.
func LookUpUser(name string) (*user.ExecUser, error) {
	fail := func(err error) (*user.ExecUser, error) {
		return nil, &StartError{126, fmt.Sprintf("user %q: %v", name, err)}
	}
	passwd, err := readList("/etc/passwd")
	if err != nil {
		return fail(err)
	}
	group, err := readList("/etc/group")
	if err != nil {
		return fail(err)
	}
	who, err := user.GetExecUser(name, &user.ExecUser{Home: "/"}, passwd, group)
	if err != nil {
		return fail(err)
	}
	return who, nil
}

func additionalGroups(names []string) ([]int, error) {
	group, err := readList("/etc/group")
	if err != nil {
		return nil, err
	}
	return user.GetAdditionalGroups(names, group)
}

// readList reads a list that the container can have replaced by anything. A list that cannot be opened is empty.
func readList(path string) (io.Reader, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0) // a pipe without a writer would block
	if err != nil {
		return new(bytes.Reader), nil //nolint:nilerr // an image need not have it
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(err, fmt.Errorf("%s is not a file", path))
	}
	list, err := io.ReadAll(io.LimitReader(f, maxList+1))
	if err == nil && len(list) > maxList {
		err = fmt.Errorf("%s has more than %d bytes", path, maxList)
	}
	return bytes.NewReader(list), err
}
