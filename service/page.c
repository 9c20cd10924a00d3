// SPDX-License-Identifier: MIT
//
// GET /: the dashboard, which is one page (dashboard.h). It asks for a token itself if one is
// needed.
#include "service/config.h"
#include "service/dashboard.h"
#include "service/events.h"

#include <string.h>

void service_get_dashboard(struct service_call *call)
{
    bool off = call->service->config && !call->service->config->dashboard;
    struct net_part codings = net_head_find(call->head, "accept-encoding");
    if (service_dashboard_size == 0 || off) {
        service_refuse(call, 404, "notfound", "%s; the API is at /v1, docs/http.md has its calls",
                       off ? "the dashboard is switched off"
                           : "this peal was built without a dashboard");
    } else if (!memmem(codings.bytes ? codings.bytes : "", codings.size, "gzip", 4)) {
        service_refuse(call, 406, "unsupported",
                       "the dashboard is sent as gzip only: "
                       "Accept-Encoding must have it (curl --compressed)");
    } else {
        net_text_add(&call->text, service_dashboard, service_dashboard_size);
        call->type = "text/html; charset=utf-8";
        call->status = 200;
        service_header(call, "Content-Encoding", "gzip");
        service_header(call, "Content-Security-Policy", service_dashboard_policy);
        service_header(call, "Cache-Control", "no-cache");
        service_header(call, "Referrer-Policy", "no-referrer");
    }
}
