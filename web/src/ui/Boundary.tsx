// SPDX-License-Identifier: Apache-2.0

import { Component, type ReactNode } from "react";
import { PartError } from "./PartError";

interface Props {
  children: ReactNode;
  part: string; // another part clears the error
}

/** Boundary keeps an error in one part of a page, such as a file that cannot be loaded, from taking the page down. */
export class Boundary extends Component<Props, { error?: unknown; part?: string }> {
  override state: { error?: unknown; part?: string } = {};

  static getDerivedStateFromError(error: unknown) {
    return { error };
  }

  static getDerivedStateFromProps(props: Props, state: { part?: string }) {
    return props.part === state.part ? null : { part: props.part, error: undefined };
  }

  override render() {
    return this.state.error ? <PartError error={this.state.error} /> : this.props.children;
  }
}
