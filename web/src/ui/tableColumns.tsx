// SPDX-License-Identifier: Apache-2.0

// The columns of tables, and the order of their rows.
import { type ReactNode, useMemo } from "react";
import styles from "./DataTable.module.css";
import { Icon } from "./icons";

export interface Column<T> {
  name: string;
  cell: (row: T) => ReactNode;
  width?: string; // as in grid-template-columns
  sort?: (row: T) => string | number; // makes the column sortable
  wide?: boolean; // hidden on narrow screens
  numeric?: boolean;
}

export type Sort = [column: string, down: boolean];

/** useSorted returns rows in the order of a column. */
export function useSorted<T>(rows: T[], columns: Column<T>[], sort?: Sort): T[] {
  return useMemo(() => {
    const by = sort && columns.find((c) => c.name === sort[0])?.sort;
    if (!by) return rows;
    const direction = sort[1] ? -1 : 1;
    return [...rows].sort((a, b) => {
      const [x, y] = [by(a), by(b)];
      return (
        direction * (typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y), "en", { numeric: true }))
      );
    });
  }, [rows, sort?.[0], sort?.[1], columns]);
}

export const cellClass = <T,>(c: Column<T>) => `${c.wide ? styles.wideOnly : ""} ${c.numeric ? "numeric" : ""}`;

export const ariaSort = <T,>(c: Column<T>, sort?: Sort) => (sort?.[0] === c.name ? (sort[1] ? "descending" : "ascending") : undefined);

/** ColumnName is the name of a column. If rows can be sorted by it, it is a button. */
export function ColumnName<T>({ column: c, sort, onSort }: { column: Column<T>; sort?: Sort; onSort: (by: Sort) => void }) {
  if (!c.sort) return c.name;
  const by = sort?.[0] === c.name;
  return (
    <button type="button" onClick={() => onSort([c.name, by ? !sort[1] : false])}>
      {c.name}
      {by && <Icon name={sort[1] ? "down" : "up"} size={12} />}
    </button>
  );
}
