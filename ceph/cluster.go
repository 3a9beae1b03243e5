// SPDX-License-Identifier: Apache-2.0

package ceph

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"

	"github.com/ceph/go-ceph/rados"
	"github.com/ceph/go-ceph/rbd"
)

// Config says how to reach the cluster, and which pools to use. Either ConfFile or MonHosts is
// required.
type Config struct {
	ConfFile string
	MonHosts []string
	User     string // without "client."
	Keyring  string // path

	ImagesPool  string
	VolumesPool string

	// WorkDir contains files that are built before they are written to RBD: the squashfs of an
	// image, and the sparse file for mkfs. Empty means the system's temporary directory.
	WorkDir string
}

// Cluster is a connection. Its methods may be called from several goroutines. The caller must avoid
// concurrent calls for the same object, which at worst return a *BusyError.
type Cluster struct {
	cfg     Config
	conn    *rados.Conn
	images  *rados.IOContext
	volumes *rados.IOContext

	// after is called after each step of an operation. Tests interrupt the operation there.
	after func(step string) error
}

// Connect connects to the cluster and opens the pools.
func Connect(ctx context.Context, cfg Config) (*Cluster, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	c := &Cluster{cfg: cfg, after: func(string) error { return nil }}
	var err error
	if c.conn, err = rados.NewConnWithUser(cfg.User); err != nil {
		return nil, fmt.Errorf("ceph user %s: %w", cfg.User, err)
	}
	if err := c.connect(); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func (c *Cluster) connect() error {
	if c.cfg.ConfFile != "" {
		if err := c.conn.ReadConfigFile(c.cfg.ConfFile); err != nil {
			return fmt.Errorf("read %s: %w", c.cfg.ConfFile, err)
		}
	}
	options := append(timeouts(), [2]string{"rbd_default_clone_format", "2"})
	if len(c.cfg.MonHosts) > 0 {
		options = append(options, [2]string{"mon_host", strings.Join(c.cfg.MonHosts, ",")})
	}
	if c.cfg.Keyring != "" {
		if _, err := os.Stat(c.cfg.Keyring); err != nil {
			return err
		}
		options = append(options, [2]string{"keyring", c.cfg.Keyring})
	}
	for _, o := range options {
		if err := c.conn.SetConfigOption(o[0], o[1]); err != nil {
			return fmt.Errorf("ceph option %s: %w", o[0], err)
		}
	}
	if err := c.conn.Connect(); err != nil {
		return fmt.Errorf("connect to ceph as %s: %w", c.cfg.User, err)
	}
	var err error
	if c.images, err = c.conn.OpenIOContext(c.cfg.ImagesPool); err != nil {
		return fmt.Errorf("pool %s: %w", c.cfg.ImagesPool, err)
	}
	if c.volumes, err = c.conn.OpenIOContext(c.cfg.VolumesPool); err != nil {
		return fmt.Errorf("pool %s: %w", c.cfg.VolumesPool, err)
	}
	return nil
}

// timeouts are options with which a cluster that does not respond does not block goroutines forever.
func timeouts() [][2]string {
	return [][2]string{{"client_mount_timeout", "30"}, {"rados_mon_op_timeout", "30"}, {"rados_osd_op_timeout", "120"}}
}

// WorkDir returns the directory for files that are built before they are written to RBD.
func (c *Cluster) WorkDir() string { return c.cfg.WorkDir }

// Close ends the connection. Do not call it while another method runs, and call no method after it.
func (c *Cluster) Close() {
	for _, io := range []*rados.IOContext{c.images, c.volumes} {
		if io != nil {
			io.Destroy()
		}
	}
	c.conn.Shutdown()
}

// step marks the end of a step, at which an operation may be interrupted.
func (c *Cluster) step(ctx context.Context, name string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return c.after(name)
}

// Disk is an RBD image that QEMU can open.
type Disk struct {
	Pool      string
	Name      string
	ID        string // part of the names of its objects: rbd_data.ID.…
	SizeBytes int64
	Header    Header // as it was when the disk was created
	Digest    string // of the import that the disk is a clone of; empty for a volume
	// Parent is the image of the snapshot that a volume shares data with, and ParentID its ID. They are empty if the volume has all its data.
	Parent, ParentID string
	OldParentID      string // of a volume that is being restored: the snapshot that its RBD image may still share data with
	// Marked is the snapshot in RADOS that the header may have while it is copied; 0: none.
	Marked uint64
}

// BusyError means that an RBD image is still in use.
type BusyError struct {
	Name string
	By   []string // client addresses or the names of clones; may be empty
}

func (e *BusyError) Error() string {
	if len(e.By) == 0 {
		return e.Name + " is in use"
	}
	return fmt.Sprintf("%s is in use by %s", e.Name, strings.Join(e.By, ", "))
}

// ErrNotFound means that a required object does not exist.
var ErrNotFound = errors.New("not found")

// ConflictError means that the name is already used by a different object.
type ConflictError struct{ Name, Why string }

func (e *ConflictError) Error() string { return e.Name + " exists: " + e.Why }

// stateKey is the metadata that says "ready" on a complete disk.
const (
	stateKey   = "husk.state"
	stateReady = "ready"
)

// validName restricts names that become part of object names, key caps and paths.
var validName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,95}$`)

func checkName(kind, name string) error {
	if !validName.MatchString(name) {
		return fmt.Errorf("%s name %q: want lower case letters, digits and dashes", kind, name)
	}
	return nil
}

func notFound(err error) bool {
	return errors.Is(err, rbd.ErrNotFound) || errors.Is(err, rados.ErrNotFound)
}

// errno values of librbd and librados errors.
const (
	ebusy     = -16
	eexist    = -17
	einval    = -22
	enotempty = -39
)

func hasErrno(err error, errno int) bool {
	var coded interface{ ErrorCode() int }
	return errors.As(err, &coded) && coded.ErrorCode() == errno
}
