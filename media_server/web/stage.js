// Owns: what the page says about the chosen track: picture, names, facts, loudness, warnings, what went wrong.

import { frame } from "./artwork.js";
import { channels, clock, frequency, loudnessLine, loudnessReason } from "./format.js";

const CODECS = { "mp4a.40.2": "AAC", "mp4a.40.5": "HE-AAC", flac: "FLAC", opus: "Opus" };

export class Stage {
  /** @param onHue called when the page took the colour of the track's picture */
  constructor(onHue) {
    const byId = (id) => document.getElementById(id);
    this.root = byId("stage");
    this.art = byId("stage-art");
    this.title = byId("stage-title");
    this.artist = byId("stage-artist");
    this.facts = byId("stage-facts");
    this.loudness = byId("loudness");
    this.warnings = byId("warnings");
    this.notice = byId("notice");
    this.onHue = onHue;
  }

  /** What the list knows of a track; the rest comes with `describe`. */
  show(track) {
    this.root.hidden = false;
    this.root.classList.remove("is-empty");
    this.root.dataset.trackId = track.track_id;
    this.name(track);
    this.facts.textContent = track.duration_seconds ? clock(track.duration_seconds) : "";
    this.loudness.hidden = this.warnings.hidden = true;
    this.warn(null);
    frame(this.art, track, (hue) => {
      document.documentElement.style.setProperty("--hue", String(hue));
      this.onHue();
    });
  }

  describe(track) {
    this.name(track);
    const best = track.renditions?.at(-1);
    const codecs = new Set(track.renditions?.map(({ codec }) => CODECS[codec.toLowerCase()] ?? codec));
    const facts = [
      track.album,
      new Intl.ListFormat("en-GB").format(codecs),
      best?.sample_rate && frequency(best.sample_rate),
      best?.channels && channels(best.channels),
      track.renditions?.length > 1 && `${track.renditions.length} qualities`,
    ];
    this.facts.textContent = facts.filter(Boolean).join("\u00a0· ");
    this.loudness.hidden = !track.loudness;
    if (track.loudness) {
      this.loudness.textContent = loudnessLine(track.loudness);
      this.loudness.title = loudnessReason(track.loudness);
    }
    this.warnings.hidden = !track.warnings?.length;
    this.warnings.replaceChildren(
      ...(track.warnings ?? []).map((warning) => Object.assign(document.createElement("li"), { textContent: warning })),
    );
  }

  name({ title, artist }) {
    this.title.textContent = title || "Untitled";
    this.artist.textContent = artist || "Unknown artist";
    document.title = [title || "Untitled", artist].filter(Boolean).join(" – ");
  }

  /** A sentence about what went wrong, or null when all is well again. */
  warn(sentence) {
    if (sentence) this.root.hidden = false;
    this.notice.hidden = !sentence;
    this.notice.textContent = sentence ?? "";
  }

  /** Nothing is chosen and there is nothing to choose from: the stage leaves its place to the list's words. */
  rest() {
    this.root.hidden = true;
  }
}
