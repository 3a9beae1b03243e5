import { useNavigate } from "@tanstack/react-router";
import { useId, useMemo, useState } from "react";
import type { Image, Pod, Volume } from "../api/client";
import { useLive } from "../api/live";
import { useSession } from "../api/session";
import { Dialog } from "./Dialog";
import { Icon, type IconName } from "./icons";
import type { Place } from "./Shell";

interface Found {
  key: string;
  icon: IconName;
  name: string;
  note: string;
  go: () => void;
}

const MOST = 12;

/** Palette finds pages and objects by name, and opens them. */
export function Palette({ close, places }: { close: () => void; places: Place[] }) {
  const session = useSession();
  return (
    <Dialog title="Search" close={close}>
      {session.kind === "tenant" ? <TenantSearch {...{ close, places }} /> : <Search {...{ close, places }} objects={() => []} />}
    </Dialog>
  );
}

function TenantSearch({ close, places }: { close: () => void; places: Place[] }) {
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
  return <Search {...{ close, places, objects }} />;
}

function Search({ close, places, objects }: { close: () => void; places: Place[]; objects: () => Found[] }) {
  const navigate = useNavigate();
  const [text, setText] = useState("");
  const [at, setAt] = useState(0);
  const list = useId();
  const found = useMemo(() => {
    const wanted = text.trim().toLowerCase();
    const pages = places.map(
      (p): Found => ({ key: p.to, icon: p.icon, name: p.name, note: `g ${p.key}`, go: () => void navigate({ to: p.to }) }),
    );
    const all = wanted ? [...pages, ...objects()] : pages;
    return all
      .filter((f) => f.name.toLowerCase().includes(wanted) || f.key === wanted)
      .sort((a, b) => Number(b.name.toLowerCase().startsWith(wanted)) - Number(a.name.toLowerCase().startsWith(wanted)))
      .slice(0, MOST);
  }, [text, places, objects, navigate]);
  const open = (f?: Found) => {
    if (!f) return;
    close();
    f.go();
  };
  const current = Math.min(at, found.length - 1);
  return (
    <>
      <input
        className="palette-input"
        // biome-ignore lint/a11y/noAutofocus: whoever opens a search wants to type
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
            e.preventDefault(); // or it would press what gets the focus back
            open(found[current]);
          }
        }}
      />
      <div className="palette" id={list} role="listbox" aria-label="Found">
        {found.map((f, i) => (
          // biome-ignore lint/a11y/useKeyWithClickEvents: as above
          <div key={f.key} id={`${list}-${i}`} role="option" aria-selected={i === current} className="palette-item" onClick={() => open(f)}>
            <Icon name={f.icon} />
            <span>{f.name}</span>
            <small>{f.note}</small>
          </div>
        ))}
      </div>
      {found.length === 0 && <p className="hint">Nothing is called like that.</p>}
    </>
  );
}
