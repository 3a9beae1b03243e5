// SPDX-License-Identifier: Apache-2.0

// Squarified treemaps: M. Bruls, K. Huizing, J. J. van Wijk, "Squarified Treemaps", 2000.

export interface Box<T> {
  of: T;
  x: number;
  y: number;
  width: number;
  height: number;
}

/** squarify places boxes in a rectangle and keeps them as square as possible. The area of a box is its size as a share of total. If the sizes do not add up to total, a part of the rectangle stays free. */
export function squarify<T>(items: T[], size: (item: T) => number, total: number, width: number, height: number): Box<T>[] {
  const scale = total > 0 ? (width * height) / total : 0;
  const rest = items
    .map((of) => ({ of, area: size(of) * scale }))
    .filter((i) => i.area > 0)
    .sort((a, b) => b.area - a.area);
  const boxes: Box<T>[] = [];
  let [x, y, w, h] = [0, 0, width, height];
  while (rest.length > 0 && w > 0 && h > 0) {
    const side = Math.min(w, h);
    const row: typeof rest = [];
    let sum = 0;
    for (let next = rest[0]; next; next = rest[0]) {
      if (row.length > 0 && worst(row, sum, side) < worst([...row, next], sum + next.area, side)) break;
      row.push(next);
      sum += next.area;
      rest.shift();
    }
    const thick = Math.min(sum / side, Math.max(w, h));
    let at = 0;
    for (const { of, area } of row) {
      const long = thick > 0 ? area / thick : 0;
      boxes.push(w >= h ? { of, x, y: y + at, width: thick, height: long } : { of, x: x + at, y, width: long, height: thick });
      at += long;
    }
    if (w >= h) [x, w] = [x + thick, w - thick];
    else [y, h] = [y + thick, h - thick];
  }
  return boxes;
}

/** worst returns the largest ratio of sides in a row. */
function worst(row: { area: number }[], sum: number, side: number): number {
  const areas = row.map((r) => r.area);
  return Math.max((side * side * Math.max(...areas)) / (sum * sum), (sum * sum) / (side * side * Math.min(...areas)));
}
