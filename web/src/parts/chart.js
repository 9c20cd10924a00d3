// SPDX-License-Identifier: MIT
//
// Events a second by type, as areas on top of each other; what points at the chart is told in the
// legend, which is text and also what a screen reader is given.
import uPlot from "uplot";
import { html, signal, useEffect, useRef } from "../html.js";
import { rate } from "../format.js";
import { COLOURS, history, POINTS } from "../rates.js";
import { theme } from "../theme.js";

const HEIGHT = 168;

const pointed = signal(null); // the index in the history that the mouse is at

function colour(element, name) {
    element.className = name;
    return getComputedStyle(element).color;
}

// From rates to tops of areas, the first at the bottom; as uPlot wants it, the highest first.
export function stack({ times, areas, other }) {
    const layers = [other, ...areas.map((area) => area.rates).reverse()];
    const tops = [];
    let below = times.map(() => 0);
    for (const layer of layers) {
        below = below.map((sum, i) => sum + layer[i]);
        tops.push(below);
    }
    return [times, ...tops.reverse()];
}

function options(width, probe) {
    const names = [...Array(COLOURS).keys()].map((i) => `c-${i}`).concat("c-other");
    const grid = { stroke: colour(probe, "c-grid"), width: 1 };
    const text = {
        stroke: colour(probe, "c-muted"),
        font: "11px system-ui, sans-serif",
        ticks: { show: false },
    };
    return {
        width,
        height: HEIGHT,
        padding: [8, 34, 0, 0],
        legend: { show: false },
        cursor: { y: false, drag: { x: false, y: false }, points: { show: false } },
        scales: {
            x: {
                range: (plot, min, max) => [max - Math.min(POINTS, Math.max(60, max - min)), max],
            },
            y: { range: (plot, min, max) => [0, Math.max(1, max * 1.1)] },
        },
        axes: [
            {
                ...text,
                grid: { show: false },
                space: 90,
                size: 26,
                values: (plot, ticks) => ticks.map(clock),
            },
            { ...text, grid, size: 48, space: 36, values: (plot, ticks) => ticks.map(rate) },
        ],
        series: [
            {},
            ...names.map((name) => {
                const stroke = colour(probe, name);
                return { stroke, fill: stroke, width: 1, points: { show: false }, alpha: 0.85 };
            }),
        ],
        hooks: {
            setCursor: [
                (plot) => {
                    pointed.value = plot.cursor.idx ?? null;
                },
            ],
        },
    };
}

function clock(seconds) {
    return new Date(seconds * 1000).toTimeString().slice(0, 8);
}

export function Chart() {
    const place = useRef(null);
    const probe = useRef(null);
    useEffect(() => {
        const element = place.current;
        const colours = probe.current;
        let plot;
        let frame;
        const make = () => {
            plot?.destroy();
            plot = new uPlot(options(element.clientWidth, colours), stack(history.peek()), element);
        };
        make();
        const stopTheme = theme.subscribe(() => {
            frame = requestAnimationFrame(make);
        });
        const stopData = history.subscribe((value) => plot.setData(stack(value)));
        const size = new ResizeObserver(() => {
            plot.setSize({ width: element.clientWidth, height: HEIGHT });
        });
        size.observe(element);
        return () => {
            stopTheme();
            cancelAnimationFrame(frame);
            stopData();
            size.disconnect();
            plot.destroy();
            pointed.value = null;
        };
    }, []);
    return html`<div class="chart">
        <div ref=${place} class="plot" role="img"
            aria-label="Events a second by type, see the list"></div>
        <i ref=${probe} hidden></i>
        <${Legend} />
    </div>`;
}

function Legend() {
    const { times, areas, other } = history.value;
    const at = pointed.value ?? times.length - 1;
    const entries = areas
        .map((area, i) => ({ name: area.type, colour: i, rate: area.rates[at] ?? 0 }))
        .filter((entry) => entry.name);
    const rest = other[at] ?? 0;
    const sum = entries.reduce((total, entry) => total + entry.rate, rest);
    return html`<dl class="legend">
        <div class="sum"><dt>${pointed.value === null ? "now" : clock(times[at] ?? 0)}</dt>
            <dd>${rate(sum)}/s</dd></div>
        ${entries.map(
            (entry) => html`<div key=${entry.name}>
            <dt title=${entry.name}><i class=${`dot c-${entry.colour}`}></i><span>${entry.name}
                </span></dt>
            <dd>${rate(entry.rate)}</dd>
        </div>`,
        )}
        ${
            (rest > 0 || other.some((value) => value > 0)) &&
            html`<div key="other">
            <dt><i class="dot c-other"></i><span>all others</span></dt><dd>${rate(rest)}</dd></div>`
        }
    </dl>`;
}
