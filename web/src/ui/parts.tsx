// SPDX-License-Identifier: Apache-2.0

// Small components that pages share.
import { type ReactNode, useEffect, useRef, useState } from "react";
import { copyText } from "../lib/copyText";
import { ago, dateTime } from "../lib/format";
import { Icon } from "./icons";
import { usePageTitle } from "./pageFocus";

/** PageHead is the heading of a page with its actions. */
export function PageHead({ title, lead, children }: { title: ReactNode; lead?: ReactNode; children?: ReactNode }) {
  const heading = useRef<HTMLHeadingElement>(null);
  usePageTitle(heading);
  return (
    <header className="page-head">
      <div>
        <h1 ref={heading} tabIndex={-1}>
          {title}
        </h1>
        {lead && <p className="lead">{lead}</p>}
      </div>
      {children && <div className="actions">{children}</div>}
    </header>
  );
}

export function Card({
  title,
  actions,
  children,
  className = "",
}: {
  title?: string;
  actions?: ReactNode;
  children: ReactNode;
  className?: string;
}) {
  return (
    <section className={`card ${className}`} aria-label={title}>
      {title && (
        <div className="card-head">
          <h2>{title}</h2>
          {actions && <div className="actions">{actions}</div>}
        </div>
      )}
      {children}
    </section>
  );
}

/** Empty explains why a page has no content and what the next step is. */
export function Empty({ title, children, action }: { title: string; children?: ReactNode; action?: ReactNode }) {
  return (
    <div className="empty">
      <h2>{title}</h2>
      {children && <div className="empty-text">{children}</div>}
      {action}
    </div>
  );
}

export const Loading = ({ what = "Loading" }: { what?: string }) => (
  <output className="loading">
    <span className="spinner" aria-hidden="true" /> {what}…
  </output>
);

/** Meter shows how much of a limit is used, as a bar and as text. */
export function Meter({ label, used, limit, show }: { label: string; used: number; limit: number; show: (n: number) => string }) {
  const share = limit > 0 ? used / limit : used > 0 ? 1 : 0;
  const tone = share >= 1 ? "bad" : share >= 0.8 ? "warn" : "good";
  return (
    <div className="meter">
      <div className="meter-text">
        <span>{label}</span>
        <span className="number">
          {show(used)} <span className="muted">of {show(limit)}</span>
        </span>
      </div>
      <div
        className={`meter-bar ${tone}`}
        role="meter"
        aria-label={label}
        aria-valuenow={used}
        aria-valuemin={0}
        aria-valuemax={Math.max(limit, used)}
        aria-valuetext={`${show(used)} of ${show(limit)}`}
      >
        <span style={{ width: `${Math.min(100, share * 100)}%` }} />
      </div>
    </div>
  );
}

/** useNow returns the current time and updates it at the given interval in milliseconds. */
export function useNow(every: number) {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), every);
    return () => clearInterval(timer);
  }, [every]);
  return now;
}

/** When shows how long ago a moment was. The title has the exact time. */
export function When({ at }: { at?: string }) {
  const now = useNow(10_000);
  if (!at) return <span className="muted">never</span>;
  return (
    <time dateTime={at} title={dateTime(at)}>
      {ago(at, now)}
    </time>
  );
}

/** Copy shows text with a button that copies it. If the browser does not allow this, the button selects the text. */
export function Copy({ text, shown, label }: { text: string; shown?: string; label: string }) {
  const [done, setDone] = useState<"copied" | "selected">();
  const code = useRef<HTMLElement>(null);
  const copy = async () => {
    const copied = await copyText(text);
    if (!copied && code.current) getSelection()?.selectAllChildren(code.current);
    setDone(copied ? "copied" : "selected");
    setTimeout(() => setDone(undefined), copied ? 1500 : 6000);
  };
  const said = done === "copied" ? "Copied" : done === "selected" ? "Selected: press Ctrl-C to copy" : `Copy ${label}`;
  return (
    <span className="copy">
      <code ref={code}>{done === "selected" ? text : (shown ?? text)}</code>
      <button type="button" className="icon-button" onClick={copy} aria-label={said} title={`Copy ${label}`}>
        <Icon name={done === "copied" ? "check" : "copy"} />
      </button>
      {done === "selected" && <span className="muted small">Press Ctrl-C</span>}
    </span>
  );
}

/** Facts is a list of names and values. */
export function Facts({ of }: { of: [name: string, value: ReactNode][] }) {
  return (
    <dl className="facts">
      {of
        .filter(([, value]) => value !== undefined && value !== null && value !== "")
        .map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
    </dl>
  );
}

/** Labels shows labels as chips. With pick, they are buttons that filter the list. */
export function Labels({ labels, pick }: { labels: Record<string, string>; pick?: (name: string, value: string) => void }) {
  return (
    <span className="chips">
      {Object.entries(labels).map(([name, value]) =>
        pick ? (
          <button type="button" key={name} className="chip" title={`Filter by ${name}=${value}`} onClick={() => pick(name, value)}>
            {name}={value}
          </button>
        ) : (
          <span key={name} className="chip">
            {name}={value}
          </span>
        ),
      )}
    </span>
  );
}
