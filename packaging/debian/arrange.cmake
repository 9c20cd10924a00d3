# SPDX-License-Identifier: MIT
#
# What Debian wants otherwise than `make install` leaves it: the configuration in /etc, man pages and
# the changelog compressed, the licence by its name, the static library without what only a debugger
# reads, most of it and with the paths of whoever built it. CPack runs it over the tree it is about to
# pack.
set(root ${CPACK_TEMPORARY_DIRECTORY})
set(documents ${root}/usr/share/doc/peal)
# Files of a checkout may be anybody's to write; those of a package are not.
set(readable FILE_PERMISSIONS OWNER_READ OWNER_WRITE GROUP_READ WORLD_READ)

file(COPY ${CPACK_PEAL_SOURCE}/packaging/peal.yaml DESTINATION ${root}/etc/peal ${readable})
file(COPY ${CPACK_PEAL_SOURCE}/LICENSE ${CPACK_PEAL_SOURCE}/CHANGELOG.md
    DESTINATION ${documents} ${readable})
file(RENAME ${documents}/LICENSE ${documents}/copyright)
file(RENAME ${documents}/CHANGELOG.md ${documents}/changelog)
file(CHMOD ${root}/etc ${root}/etc/peal ${documents} DIRECTORY_PERMISSIONS
    OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)

file(GLOB pages ${root}/usr/share/man/man*/*.[0-9])
execute_process(COMMAND gzip -9n ${documents}/changelog ${pages} COMMAND_ERROR_IS_FATAL ANY)
# CPack strips programs and shared libraries itself.
file(GLOB_RECURSE archives ${root}/usr/lib/libpeal.a)
execute_process(COMMAND strip --strip-debug --enable-deterministic-archives ${archives}
    COMMAND_ERROR_IS_FATAL ANY)
