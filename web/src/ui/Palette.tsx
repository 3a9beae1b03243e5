// SPDX-License-Identifier: Apache-2.0

import { useNavigate } from "@tanstack/react-router";
import { useId, useMemo, useState } from "react";
import type { Image, Pod, Volume } from "../api/client";
import { useLive } from "../api/live";
import { useSession } from "../api/session";
import { Dialog } from "./Dialog";
import { Hint } from "./Hint";
import { Icon, type IconName } from "./icons";
import styles from "./Palette.module.css";
import type { NavPage } from "./Shell";

interface Found {
  key: string;
  icon: IconName;
  name: string;
  note: string;
  go: () => void;
}

const MAX_RESULTS = 12;

/** Palette finds pages and objects by name and opens them. */
export function Palette({ close, pages }: { close: () => void; pages: NavPage[] }) {
  const session = useSession();
  return (
    <Dialog title="Search" close={close}>
      {session.kind === "tenant" ? <TenantSearch {...{ close, pages }} /> : <Search {...{ close, pages }} objects={() => []} />}
    </Dialog>
  );
}

function TenantSearch({ close, pages }: { close: () => void; pages: NavPage[] }) {
  const navigate = useNavigate();
  const pods = useLive<Pod>("pods").items;
  const volumes = useLive<Volume>("volumes").items;
  const images = useLive<Image>("images").items;
  const objects = useMemo(
    () => (): Found[] => [
      ...pods.map((p) => ({
        key: p.id,
        icon: "pods" as const,
        name: p.name,
        note: p.status.phase,
        go: () => void navigate({ to: "/pods/$podId", params: { podId: p.id } }),
      })),
      ...volumes.map((v) => ({
        key: v.id,
        icon: "volumes" as const,
        name: v.name,
        note: `${v.sizeGiB} GiB`,
        go: () => void navigate({ to: "/volumes/$volumeId", params: { volumeId: v.id } }),
      })),
      ...images.map((i) => ({
        key: i.id,
        icon: "images" as const,
        name: i.reference,
        note: i.state,
        go: () => void navigate({ to: "/images" }),
      })),
    ],
    [pods, volumes, images, navigate],
  );
  return <Search {...{ close, pages, objects }} />;
}

function Search({ close, pages, objects }: { close: () => void; pages: NavPage[]; objects: () => Found[] }) {
  const navigate = useNavigate();
  const [text, setText] = useState("");
  const [at, setAt] = useState(0);
  const list = useId();
  const found = useMemo(() => {
    const wanted = text.trim().toLowerCase();
    const pageItems = pages.map(
      (p): Found => ({ key: p.to, icon: p.icon, name: p.name, note: `g ${p.key}`, go: () => void navigate({ to: p.to }) }),
    );
    const all = wanted ? [...pageItems, ...objects()] : pageItems;
    return all
      .filter((f) => f.name.toLowerCase().includes(wanted) || f.key === wanted)
      .sort((a, b) => Number(b.name.toLowerCase().startsWith(wanted)) - Number(a.name.toLowerCase().startsWith(wanted)))
      .slice(0, MAX_RESULTS);
  }, [text, pages, objects, navigate]);
  const open = (f?: Found) => {
    if (!f) return;
    close();
    f.go();
  };
  const current = Math.min(at, found.length - 1);
  return (
    <>
      <input
        className={styles.input}
        // biome-ignore lint/a11y/noAutofocus: the user opened the search in order to type
        autoFocus
        role="combobox"
        aria-label="Name of a page or an object"
        aria-expanded="true"
        aria-controls={list}
        aria-activedescendant={found[current] && `${list}-${current}`}
        placeholder="Name of a page or an object"
        value={text}
        onChange={(e) => {
          setText(e.target.value);
          setAt(0);
        }}
        onKeyDown={(e) => {
          const step = e.key === "ArrowDown" ? 1 : e.key === "ArrowUp" ? -1 : 0;
          if (step !== 0 && found.length > 0) {
            e.preventDefault();
            setAt((current + step + found.length) % found.length);
          }
          if (e.key === "Enter") {
            e.preventDefault(); // otherwise Enter would press the element that gets the focus back
            open(found[current]);
          }
        }}
      />
      <div className={styles.results} id={list} role="listbox" aria-label="Results">
        {found.map((f, i) => (
          // biome-ignore lint/a11y/useKeyWithClickEvents: the input handles the arrow keys and Enter
          <div key={f.key} id={`${list}-${i}`} role="option" aria-selected={i === current} className={styles.item} onClick={() => open(f)}>
            <Icon name={f.icon} />
            <span>{f.name}</span>
            <small>{f.note}</small>
          </div>
        ))}
      </div>
      {found.length === 0 && <Hint>Nothing matches.</Hint>}
    </>
  );
}
