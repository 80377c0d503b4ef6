// Owns: over which transport a track is heard, and whether lossless: the three there are, how each is loaded, and the
// switches that show it.

import { canPlayLossless, Stream } from "./stream.js";

export const FIRST_WAY = "hls";

// what a way brings: the class that fills the audio element, and the address it is opened with
const WAYS = {
  hls: { load: async () => Stream, address: (track, lossless) => (lossless && losslessUrl(track)) || track.stream_manifest_url },
  websocket: {
    load: async () => (await import("./websocket-player.js")).SocketStream,
    address: (track) => `/stream?track_id=${track.track_id}`,
  },
  webrtc: {
    load: async () => (await import("./whep-player.js")).WhepStream,
    address: (track) => `/whep/${track.track_id}`,
  },
};

const WORDS = { connecting: "connecting…", ready: "ready", playing: "playing", failed: "failed" };

/** The playlist of the source itself, null where the track has none; the list has renditions by their names alone. */
export function losslessUrl({ renditions, stream_manifest_url: url }) {
  const names = renditions?.map((rendition) => rendition.name ?? rendition) ?? [];
  return names.includes("lossless") && names.length > 1 ? url.replace(/[^/]+$/, "master-lossless.m3u8") : null;
}

/** The streams of one audio element, each made when it is first wanted. */
export class Ways {
  /** @param listener as of stream.js; only what the chosen way says reaches it */
  constructor(audio, listener) {
    this.audio = audio;
    this.listener = listener;
    this.made = new Map([[FIRST_WAY, this.make(FIRST_WAY, Stream)]]);
    this.name = FIRST_WAY;
    this.lossless = false;
  }

  get chosen() {
    return this.made.get(this.name);
  }

  address(track) {
    return WAYS[this.name].address(track, this.lossless);
  }

  /** Make this the way; what the other one had open is closed. */
  async choose(name) {
    this.wanted = name;
    const Way = await WAYS[name].load();
    if (name !== this.wanted) return;
    if (!this.made.has(name)) this.made.set(name, this.make(name, Way));
    this.chosen.close();
    this.name = name;
  }

  make(name, Way) {
    const only = (tell) => (...told) => name === this.name && tell(...told);
    const { rendition, trouble, failed } = this.listener;
    return new Way(this.audio, { rendition: only(rendition), trouble: only(trouble), failed: only(failed) });
  }
}

/** The switch on the page. */
export class Switch {
  constructor(player, root) {
    this.root = root;
    this.state = root.querySelector("output");
    for (const input of root.querySelectorAll("input")) {
      input.checked = input.value === player.way;
      input.addEventListener("change", () => player.use(input.value));
    }
    player.addEventListener("way", ({ detail }) => this.show(detail));
  }

  show({ way, state }) {
    for (const input of this.root.querySelectorAll("input")) {
      const label = input.parentElement;
      label.dataset.state = input.value === way ? state : "off";
    }
    this.state.textContent = WORDS[state] ?? "";
  }
}

/** The switch between what the network carries and the source as it is; there where both can be heard. */
export class LosslessSwitch {
  constructor(player, input) {
    this.player = player;
    this.input = input;
    input.checked = false;
    this.isPlayable = canPlayLossless(player.audio);
    input.addEventListener("change", () => player.preferLossless(input.checked));
    for (const type of ["state", "way"]) player.addEventListener(type, () => this.show());
  }

  show() {
    const { track, way } = this.player;
    this.input.parentElement.hidden = !(this.isPlayable && way === "hls" && track && losslessUrl(track));
  }
}
