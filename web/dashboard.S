// SPDX-License-Identifier: MIT
//
// The dashboard as bytes of the program: see service/dashboard.h. The assembler reads the files, so
// nothing has to be turned into an array of C, and the page may be read from the build folder.
//
// DASHBOARD_PAGE (compressed), DASHBOARD_PLAIN (not) and DASHBOARD_POLICY are the files; without
// them there is no dashboard, and the sizes are 0.
#if __SIZEOF_POINTER__ == 8
#define WORD .8byte
#else
#define WORD .4byte
#endif

        .section .rodata, "a"

        .globl service_dashboard
        .type service_dashboard, STT_OBJECT
        .balign 16
service_dashboard:
#ifdef DASHBOARD_PAGE
        .incbin DASHBOARD_PAGE
#endif
.Lpage_end:
        .byte 0
        .size service_dashboard, . - service_dashboard

        .globl service_dashboard_plain
        .type service_dashboard_plain, STT_OBJECT
        .balign 16
service_dashboard_plain:
#ifdef DASHBOARD_PLAIN
        .incbin DASHBOARD_PLAIN
#endif
.Lplain_end:
        .byte 0
        .size service_dashboard_plain, . - service_dashboard_plain

        .globl service_dashboard_policy
        .type service_dashboard_policy, STT_OBJECT
service_dashboard_policy:
#ifdef DASHBOARD_POLICY
        .incbin DASHBOARD_POLICY
#endif
        .byte 0
        .size service_dashboard_policy, . - service_dashboard_policy

        .globl service_dashboard_size
        .type service_dashboard_size, STT_OBJECT
        .balign 8
service_dashboard_size:
        WORD .Lpage_end - service_dashboard
        .size service_dashboard_size, . - service_dashboard_size

        .globl service_dashboard_plain_size
        .type service_dashboard_plain_size, STT_OBJECT
        .balign 8
service_dashboard_plain_size:
        WORD .Lplain_end - service_dashboard_plain
        .size service_dashboard_plain_size, . - service_dashboard_plain_size

        .section .note.GNU-stack, "", %progbits
