// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"encoding/xml"
	"fmt"
	"regexp"
	"slices"

	"libvirt.org/go/libvirtxml"
)

// Model is what a guest sees of its machine, and needs on every node that the machine moves to.
type Model struct {
	Type    string `json:"type"`          // of the machine, such as pc-q35-7.2
	CPU     *CPU   `json:"cpu,omitempty"` // nil if it is emulated
	Scratch bool   `json:"scratch,omitempty"`
	Size    *Size  `json:"size,omitempty"` // nil: its size cannot change, because an earlier version has started it
}

// CPU is a model of a processor, with what it has in addition and what it lacks.
type CPU struct {
	Model    string    `json:"model"`
	Features []Feature `json:"features,omitempty"`
}

// Feature is a feature of a processor.
type Feature struct {
	Name   string `json:"name"`
	Policy string `json:"policy"`
}

var (
	machineTypes = regexp.MustCompile(`^pc-q35-[0-9]{1,3}\.[0-9]{1,3}$`)
	cpuNames     = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)
)

// maxFeatures is more than processors have.
const maxFeatures = 1000

// Check refuses what no machine of Husk has. The model comes from another node.
func (m Model) Check(emulated bool) error {
	if !machineTypes.MatchString(m.Type) {
		return fmt.Errorf("%.80q is not a type of machine", m.Type)
	}
	if emulated != (m.CPU == nil) {
		return fmt.Errorf("one of the nodes emulates machines and the other one does not")
	}
	if m.Size != nil {
		if err := m.Size.check(); err != nil {
			return err
		}
	}
	if m.CPU == nil {
		return nil
	}
	if !cpuNames.MatchString(m.CPU.Model) || len(m.CPU.Features) > maxFeatures {
		return fmt.Errorf("%.80q is not a model of a processor", m.CPU.Model)
	}
	for _, f := range m.CPU.Features {
		if !cpuNames.MatchString(f.Name) || f.Policy != "require" && f.Policy != "disable" {
			return fmt.Errorf("%.80q is not a feature of a processor", f.Name)
		}
		for _, never := range noNesting {
			if f.Name == never.Name && f.Policy != never.Policy {
				return fmt.Errorf("the machine has the feature %s, which machines must not have", f.Name)
			}
		}
	}
	return nil
}

// modelOf reads the model from the description of a machine that runs. It also returns the names of its local disks.
func modelOf(text string) (m Model, local []string, _ error) {
	var x libvirtxml.Domain
	if err := xml.Unmarshal([]byte(text), &x); err != nil {
		return m, nil, fmt.Errorf("read a domain's description: %w", err)
	}
	if x.OS == nil || x.OS.Type == nil || x.Devices == nil {
		return m, nil, fmt.Errorf("domain %s has no type", x.Name)
	}
	m.Type = x.OS.Type.Machine
	if x.CPU != nil && x.CPU.Model != nil && x.CPU.Mode == "custom" {
		m.CPU = &CPU{Model: x.CPU.Model.Value}
		for _, f := range x.CPU.Features {
			m.CPU.Features = append(m.CPU.Features, Feature{f.Name, f.Policy})
		}
	}
	if size := sizeOf(text, &x); size.ExtraMiB > 0 {
		m.Size = &size
	}
	for _, d := range x.Devices.Disks {
		if d.Source != nil && d.Source.File != nil && d.Target != nil {
			local = append(local, d.Target.Dev)
		}
	}
	m.Scratch = len(local) > 0
	return m, local, nil
}

// apply makes a domain have this model.
func (m *Model) apply(d *libvirtxml.Domain) {
	if m == nil {
		return
	}
	d.OS.Type.Machine = m.Type
	if m.CPU == nil {
		return
	}
	d.CPU = &libvirtxml.DomainCPU{Mode: "custom", Match: "exact", Check: "full", Model: &libvirtxml.DomainCPUModel{Fallback: "forbid", Value: m.CPU.Model}}
	for _, f := range m.CPU.Features {
		d.CPU.Features = append(d.CPU.Features, libvirtxml.DomainCPUFeature{Policy: f.Policy, Name: f.Name})
	}
	for _, never := range noNesting { // some models have it unless that is turned off, and the other node may leave that out
		if !slices.Contains(d.CPU.Features, never) {
			d.CPU.Features = append(d.CPU.Features, never)
		}
	}
}
