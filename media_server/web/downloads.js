// Owns: the track as a file to keep: a link for each format there is, and the wait for one that is made when it is
// asked for.

import { untilMade } from "./api.js";
import { bitrate, bytes } from "./format.js";

const NAMES = { mp3: "MP3", m4a: "M4A", ogg: "Ogg Vorbis", opus: "Opus", flac: "FLAC" };

export class Downloads {
  /** @param onTrouble called with a sentence when a file cannot be had, with null before the next is asked for */
  constructor(root, onTrouble) {
    this.root = root;
    this.list = root.querySelector("ul");
    this.onTrouble = onTrouble;
    this.asking = new AbortController();
    document.addEventListener("click", ({ target }) => root.contains(target) || (root.open = false));
    root.addEventListener("keydown", ({ key }) => {
      if (key !== "Escape") return;
      root.open = false;
      root.querySelector("summary").focus();
    });
  }

  /** Offer the files of a track; null while nothing is known of them. */
  show(track) {
    this.asking.abort();
    this.asking = new AbortController();
    this.root.open = false;
    this.root.hidden = !track?.formats.length;
    this.list.replaceChildren(...(track?.formats ?? []).map((format) => this.row(track, format)));
  }

  /** What is known of them now, unless one of them is waited for. */
  refresh(track) {
    if (this.list.querySelector("[aria-busy]")) return;
    const { open } = this.root;
    this.show(track);
    this.root.open = open;
  }

  row(track, format) {
    const made = track.downloads.filter((file) => file.format === format);
    const best = made.sort((a, b) => a.bitrate - b.bitrate || a.sample_rate - b.sample_rate).at(-1);
    const link = document.createElement("a");
    link.href = `/tracks/${track.track_id}/audio.${format}`;
    link.download = ""; // the server tells the name
    link.dataset.format = format;
    const facts = [format === "flac" ? "lossless" : best?.bitrate && bitrate(best.bitrate), best && bytes(best.bytes)];
    const about = document.createElement("small");
    about.textContent = facts.filter(Boolean).join(", ");
    link.append(NAMES[format] ?? format, about);
    if (!best) link.addEventListener("click", (event) => this.ask(event, link, about), { once: true });
    const row = document.createElement("li");
    row.append(link);
    return row;
  }

  /** A file may have to be made: the link is followed once it leads somewhere. */
  async ask(event, link, about) {
    event.preventDefault();
    const { signal } = this.asking;
    const said = about.textContent;
    const again = (other) => this.ask(other, link, about);
    link.setAttribute("aria-busy", "true");
    about.textContent = "being made…";
    this.onTrouble(null);
    try {
      await untilMade(link.href, signal);
      about.textContent = said;
      link.click();
    } catch (problem) {
      if (signal.aborted) return;
      about.textContent = said;
      this.onTrouble(`The file could not be had: ${problem.message}`);
      link.addEventListener("click", again, { once: true });
    } finally {
      link.removeAttribute("aria-busy");
    }
  }
}
