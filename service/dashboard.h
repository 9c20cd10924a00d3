// SPDX-License-Identifier: MIT
//
// The dashboard: the page that GET / answers with, as bytes of the program.
//
//     web/src/ ──web/build.mjs──► index.html, index.html.gz, policy.txt ──web/dashboard.S──► here
//
// It is one page that loads nothing more, compressed once, when it is built, and here in both
// forms: browsers take gzip, and what only asks whether somebody answers often does not. To be sent
// with
//
//     Content-Type: text/html; charset=utf-8
//     Content-Encoding: gzip                     (the compressed one)
//     Vary: Accept-Encoding
//     Content-Security-Policy: <service_dashboard_policy>
//     X-Content-Type-Options: nosniff
//
// and `Cache-Control: no-cache`: another build is another page. The policy has the hashes of the
// page's script and style, so the two belong together.
#ifndef SERVICE_DASHBOARD_H
#define SERVICE_DASHBOARD_H

#include <stddef.h>

extern const unsigned char service_dashboard[]; // gzip
extern const size_t service_dashboard_size; // bytes; 0: built without it, GET / is 404 and says so
extern const unsigned char service_dashboard_plain[];
extern const size_t service_dashboard_plain_size;
extern const char service_dashboard_policy[]; // one line; empty without a dashboard

#endif
