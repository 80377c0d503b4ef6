// Owns: the list of tracks, newest first: its pages, its order, and which one is chosen.

import { listTracks } from "./api.js";
import { frame } from "./artwork.js";
import { clock } from "./format.js";

export class Tracks {
  /**
   * @param onChoose called with the track of a row that was clicked
   * @param onGrown called when rows were added
   */
  constructor({ onChoose, onGrown }) {
    const byId = (id) => document.getElementById(id);
    this.list = byId("tracks");
    this.more = byId("more");
    this.empty = byId("empty");
    this.notice = byId("tracks-notice");
    this.template = byId("track-template");
    this.onChoose = onChoose;
    this.onGrown = onGrown;
    this.known = new Map(); // track id -> {track, row}
    this.cursor = null;
    this.more.addEventListener("click", () => this.load());
  }

  /** Fetch the next page, the first one to begin with; says below the list when that fails. */
  async load() {
    this.more.disabled = true;
    try {
      const { tracks, next_cursor: next } = await listTracks(this.cursor);
      this.cursor = next;
      for (const track of tracks) if (!this.known.has(track.track_id)) this.list.append(this.row(track));
      this.more.textContent = "Show more";
      this.more.hidden = !next;
      this.notice.hidden = true;
      this.empty.hidden = this.known.size > 0;
      this.onGrown();
    } catch (problem) {
      const closed = problem.status === 401 || problem.status === 403; // asking again would change nothing
      this.notice.textContent = closed
        ? "The list of tracks is not public here. A link to a track plays it."
        : `The tracks could not be loaded: ${problem.message}`;
      this.notice.classList.toggle("notice-quiet", closed);
      this.notice.hidden = false;
      this.more.textContent = "Try again";
      this.more.hidden = closed;
    } finally {
      this.more.disabled = false;
    }
  }

  /** Put a track on top, or anew in its place if it is listed. */
  put(track) {
    const old = this.known.get(track.track_id)?.row;
    const row = this.row(track);
    if (old) old.replaceWith(row);
    else this.list.prepend(row);
    this.empty.hidden = true;
    if (this.chosen === track.track_id) this.choose(track.track_id);
  }

  row(track) {
    const row = this.template.content.cloneNode(true).firstElementChild;
    row.dataset.trackId = track.track_id;
    row.querySelector(".track-title").textContent = track.title || "Untitled";
    row.querySelector(".track-artist").textContent = track.artist || "Unknown artist";
    row.querySelector(".track-duration").textContent = clock(track.duration_seconds);
    row.querySelector("button").addEventListener("click", () => this.onChoose(track));
    frame(row.querySelector(".art"), track);
    this.known.set(track.track_id, { track, row });
    return row;
  }

  get(trackId) {
    return this.known.get(trackId)?.track ?? null;
  }

  get first() {
    const row = this.list.firstElementChild;
    return row ? this.get(row.dataset.trackId) : null;
  }

  choose(trackId) {
    this.chosen = trackId;
    for (const { track, row } of this.known.values()) {
      const button = row.querySelector("button");
      if (track.track_id === trackId) button.setAttribute("aria-current", "true");
      else button.removeAttribute("aria-current");
    }
  }

  showPlaying(isPlaying) {
    this.list.classList.toggle("is-playing", isPlaying);
  }

  /** The track beside the chosen one: -1 above, +1 below; null at either end. */
  beside(way) {
    const row = this.known.get(this.chosen)?.row;
    const other = way < 0 ? row?.previousElementSibling : row?.nextElementSibling;
    return other ? this.get(other.dataset.trackId) : null;
  }
}
