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

// Config says how to reach the cluster and what is ours in it. Either ConfFile
// or MonHosts is needed.
type Config struct {
	ConfFile string
	MonHosts []string
	User     string // without "client."
	Keyring  string // path

	ImagesPool  string
	VolumesPool string

	// WorkDir holds what is built before it is written to RBD: the squashfs of
	// an image, the sparse file that mkfs sees. Empty means the system's own.
	WorkDir string
}

// Cluster is a connection. Its methods may be called from several goroutines;
// two calls for the same object at the same time are the caller's to avoid, and
// end in a *BusyError at worst.
type Cluster struct {
	cfg     Config
	conn    *rados.Conn
	images  *rados.IOContext
	volumes *rados.IOContext

	// after is called when a step of an operation is done; tests break off there.
	after func(step string) error
}

// Connect reaches the cluster and opens the pools.
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
	options := [][2]string{
		// A cluster that is gone must not hold our goroutines for ever.
		{"client_mount_timeout", "30"},
		{"rados_mon_op_timeout", "30"},
		{"rados_osd_op_timeout", "120"},
		{"rbd_default_clone_format", "2"},
	}
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

// Close ends the connection. No other method may run or follow.
func (c *Cluster) Close() {
	for _, io := range []*rados.IOContext{c.images, c.volumes} {
		if io != nil {
			io.Destroy()
		}
	}
	c.conn.Shutdown()
}

// step marks the end of a step: the place where an operation may be broken off.
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
	ID        string // names its objects: rbd_data.ID.…
	SizeBytes int64
}

// BusyError says that something still uses an RBD image.
type BusyError struct {
	Name string
	By   []string // client addresses or the names of clones, may be empty
}

func (e *BusyError) Error() string {
	if len(e.By) == 0 {
		return e.Name + " is in use"
	}
	return fmt.Sprintf("%s is in use by %s", e.Name, strings.Join(e.By, ", "))
}

// ErrNotFound is returned for something that has to be there and is not.
var ErrNotFound = errors.New("not found")

// ConflictError says that a name is taken by something else than asked for.
type ConflictError struct{ Name, Why string }

func (e *ConflictError) Error() string { return e.Name + " exists: " + e.Why }

// stateKey is metadata that says "ready" on a disk that is whole.
const (
	stateKey   = "husk.state"
	stateReady = "ready"
)

// validName keeps names that end up in object names, key caps and paths tame.
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

// errno of librbd and librados errors.
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
