# SPDX-License-Identifier: MIT
#
# The Debian package: what `make install` puts under /usr, and the configuration in /etc.
# `make package` builds it, in build/package/; CPack does the work, and packaging/debian/ has the
# rest.
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME peal)
set(CPACK_PACKAGE_VENDOR "The Peal authors")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS
    OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
set(CPACK_PRE_BUILD_SCRIPTS ${PROJECT_SOURCE_DIR}/packaging/debian/arrange.cmake)
set(CPACK_PEAL_SOURCE ${PROJECT_SOURCE_DIR}) # for that script

set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_MAINTAINER "The Peal authors <maintainers@peal.invalid>")
set(CPACK_DEBIAN_PACKAGE_SECTION net)
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "event system, a log with ears")
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION
"Publishing appends an immutable event to a log, and subscriptions are places
in it, so that history, replay and catching up are reads of one thing. This
package has the library for C and C++ programs, the command line, and the
service behind HTTP, WebSocket and Server-Sent Events.")
# The certificates webhooks are checked against; `kill`, by which the unit is reloaded.
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS "ca-certificates, procps")
# What a program is linked with that takes the static library.
set(CPACK_DEBIAN_PACKAGE_SUGGESTS "libisal-dev, libsqlite3-dev, libzstd-dev, pkg-config")
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(debian ${PROJECT_SOURCE_DIR}/packaging/debian)
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA
    ${debian}/conffiles ${debian}/postinst ${debian}/prerm ${debian}/postrm ${debian}/triggers)
include(CPack)
