// Owns: every read from the server. A refusal becomes a Problem that carries the server's own words.

const COME_AGAIN_S = 2;

/** An answer that is not a success, or none at all (status 0). */
export class Problem extends Error {
  constructor(status, { detail, title, code } = {}) {
    super(detail || title || (status ? `the server answered ${status}` : "the server cannot be reached"));
    this.name = "Problem";
    this.status = status;
    this.code = code ?? null;
  }

  /** From the text of an answer, application/problem+json (RFC 9457) where it came from our server. */
  static from(status, text) {
    try {
      return new Problem(status, JSON.parse(text));
    } catch {
      return new Problem(status); // a proxy's HTML page says nothing to a listener
    }
  }
}

async function get(path) {
  let response;
  try {
    response = await fetch(path, { headers: { Accept: "application/json" } });
  } catch {
    throw new Problem(0);
  }
  if (!response.ok) throw Problem.from(response.status, await response.text());
  return response.json();
}

export const getConfig = () => get("/web/config.json");

/** One page of the library, newest first: {tracks, next_cursor}. */
export function listTracks(cursor = null) {
  const query = new URLSearchParams({ limit: "50" });
  if (cursor) query.set("cursor", cursor);
  return get(`/tracks?${query}`);
}

export const getTrack = (trackId) => get(`/tracks/${encodeURIComponent(trackId)}`);

/** audiowaveform JSON, version 2, of at most `width` points; two numbers each, lowest and highest. */
export function getWaveform(url, width) {
  const address = new URL(url, location.href);
  address.searchParams.set("width", String(width));
  return get(address);
}

/** Until this file can be fetched: one that nobody has asked for before is made first. */
export async function untilMade(url, signal) {
  for (;;) {
    const response = await fetch(url, { headers: { Range: "bytes=0-0" }, cache: "no-store", signal }).catch((fault) => {
      throw signal.aborted ? fault : new Problem(0);
    });
    const problem = response.ok ? null : Problem.from(response.status, await response.text());
    if (!problem) return;
    if (!["being_made", "track_not_ready"].includes(problem.code)) throw problem;
    const seconds = Number(response.headers.get("Retry-After")) || COME_AGAIN_S;
    await new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
    signal.throwIfAborted();
  }
}

export const listJobs = () => get("/dev/jobs?limit=20");
