// Owns: how the parts of the page are joined, and which track is chosen.

import { getConfig, getTrack, getWaveform } from "./api.js";
import { Dock } from "./dock.js";
import { Downloads } from "./downloads.js";
import { Player } from "./player.js";
import { Session } from "./session.js";
import { Stage } from "./stage.js";
import { prepare } from "./stream.js";
import { Tracks } from "./tracks.js";
import { Transport } from "./transport.js";
import { Volume } from "./volume.js";
import { Waveform } from "./waveform.js";
import { LosslessSwitch, Switch } from "./ways.js";

const WAVEFORM_POINTS = 1200; // the widest the page draws, and one address for every screen so that caches share it
const RESTART_S = 3;

const byId = (id) => document.getElementById(id);
const player = new Player(byId("audio"));
const waveform = new Waveform(byId("waveform"));
const volume = new Volume(player.audio, byId("volume"), byId("mute"));
const transport = new Transport(player, waveform, volume, skip);
const session = new Session(player, skip);
new Switch(player, byId("ways"));
new LosslessSwitch(player, byId("lossless"));
const stage = new Stage(() => waveform.recolour());
const downloads = new Downloads(byId("downloads"), (sentence) => stage.warn(sentence));
const dock = new Dock(byId("dock"), player, document.querySelector(".controls"));
const tracks = new Tracks({ onChoose: toggleOrPlay, onGrown: showSkips });

/** Make a track the chosen one: play it or have it ready, and fill in what only the server knows. */
async function choose(track, { play = false } = {}) {
  stage.show(track);
  dock.show(track);
  session.describe(track);
  tracks.choose(track.track_id);
  waveform.show(null);
  transport.describe(null);
  downloads.show(null);
  player.load(track, { play });
  showSkips();
  const isChosen = () => player.track === track;
  try {
    const detail = await getTrack(track.track_id);
    if (!isChosen()) return;
    stage.describe(detail);
    transport.describe(detail);
    downloads.show(detail);
    session.describe(detail);
    if (!detail.waveform_url) return;
    const { data } = await getWaveform(detail.waveform_url, WAVEFORM_POINTS);
    if (isChosen()) waveform.show(data);
  } catch (problem) {
    if (isChosen()) stage.warn(`Not everything about this track could be loaded: ${problem.message}`);
  }
}

/** Choose by id, for a link that names a track: one that is not listed is asked for. */
async function chooseById(trackId, { play = false } = {}) {
  let track = tracks.get(trackId);
  try {
    track ??= await getTrack(trackId);
  } catch (problem) {
    if (!player.track && tracks.first) choose(tracks.first);
    stage.warn(problem.status === 404 ? "The linked track is not here." : `The linked track could not be loaded: ${problem.message}`);
    return;
  }
  await choose(track, { play });
}

/** What a person asked for plays, and the address names it. */
function playLinked(track) {
  history.replaceState(null, "", `#${new URLSearchParams({ track: track.track_id })}`);
  return choose(track, { play: true });
}

function toggleOrPlay(track) {
  return track.track_id === player.track?.track_id ? player.toggle() : playLinked(track);
}

/** To the track above (-1) or below (+1). Back means the beginning first, as on every player. */
function skip(way) {
  const track = tracks.beside(way);
  if (way < 0 && (player.position > RESTART_S || !track)) player.seek(0);
  else if (track) playLinked(track);
}

function showSkips() {
  transport.showSkips({ back: Boolean(player.track), on: Boolean(tracks.beside(1)) });
}

function isSame(track, other) {
  return track.track_id === other?.track_id && track.created_at === other.created_at;
}

const welcomed = new Set(); // of jobs: a track is news once, though it grows

/** What is ready to play joins the list at once; it takes the stage where nothing is being heard. */
async function welcome({ job_id: jobId, track_id: trackId, title }) {
  const isKnown = welcomed.has(jobId);
  welcomed.add(jobId);
  try {
    const track = await getTrack(trackId);
    // a file was made of what is chosen: whoever listens, or has stopped for a moment, keeps the place
    if (isSame(track, player.track)) {
      transport.describe(track); // what was still to come while it grew
      return downloads.refresh(track);
    }
    tracks.put(track);
    if (isKnown) return;
    byId("announcer").textContent = `${track.title || title || "The track"} is ready to play`;
    if (!player.playing) await choose(track);
    else showSkips();
  } catch (problem) {
    byId("announcer").textContent = `${title || "The track"} is ready, but could not be loaded: ${problem.message}`;
  }
}

/** The page of a server that takes files, in development. */
async function openForMakers({ max_source_bytes: maxBytes }) {
  const { openWorkshop } = await import("./workshop.js");
  byId("empty-words").textContent = "Drop a song anywhere on this page to hear it in moments. On a first run a short demo appears here by itself.";
  openWorkshop({ maxBytes, onPlayable: welcome, onOpen: (trackId) => chooseById(trackId, { play: true }) });
}

async function configure() {
  try {
    const config = await getConfig();
    byId("version").textContent = config.development ? `${config.version} development` : config.version;
    if (config.upload) await openForMakers(config);
  } catch (problem) {
    stage.warn(`The page could not be set up: ${problem.message}`);
  }
}

async function start() {
  prepare();
  configure();
  await tracks.load();
  const trackId = new URLSearchParams(location.hash.slice(1)).get("track");
  if (trackId) await chooseById(trackId);
  else if (tracks.first) await choose(tracks.first);
  else stage.rest();
}

player.addEventListener("state", () => tracks.showPlaying(player.playing));
player.addEventListener("trouble", ({ detail }) => stage.warn(detail));
player.addEventListener("failed", ({ detail }) => stage.warn(detail));
player.addEventListener("ended", () => tracks.beside(1) && skip(1));
addEventListener("hashchange", () => {
  const trackId = new URLSearchParams(location.hash.slice(1)).get("track");
  if (trackId && trackId !== player.track?.track_id) chooseById(trackId, { play: player.playing });
});
start();
