// SPDX-License-Identifier: Apache-2.0

package parse

import (
	"path"
	"strconv"
	"strings"

	"husk/cli/exit"
	"husk/openapi"
)

// tmpfs reads /path, optionally followed by a colon and options, as docker writes them. It returns nil if there is none.
func tmpfs(items []string) (*[]openapi.PodVolume, *[]openapi.VolumeMount, error) {
	if len(items) == 0 {
		return nil, nil, nil
	}
	volumes, mounts := make([]openapi.PodVolume, 0, len(items)), make([]openapi.VolumeMount, 0, len(items))
	for i, item := range items {
		where, options, _ := strings.Cut(item, ":")
		if !path.IsAbs(where) || where == "/" {
			return nil, nil, exit.Usagef("--tmpfs: %q is not /path or /path:size=64m", item)
		}
		dir := openapi.EmptyDir{Memory: new(true)}
		for option := range strings.SplitSeq(options, ",") {
			switch name, value, _ := strings.Cut(option, "="); {
			case name == "size":
				size, err := Size("--tmpfs", value, "Mi")
				if err != nil {
					return nil, nil, err
				}
				dir.SizeMiB = &size
			case option != "" && option != "rw":
				return nil, nil, exit.Usagef("--tmpfs %q: the only option is size; all users of the pod can write to the directory and execute files in it", item)
			}
		}
		name := "tmpfs-" + strconv.Itoa(i+1)
		volumes = append(volumes, openapi.PodVolume{Name: name, EmptyDir: &dir})
		mounts = append(mounts, openapi.VolumeMount{Volume: name, MountPath: path.Clean(where)})
	}
	return &volumes, &mounts, nil
}
