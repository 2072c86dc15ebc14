# The report's page template, style and script and the chart library become part of the program, so
# that a report is one self-contained file and needs no network, neither to be written nor read.
find_file(IOL_CHART_JS NAMES chart.min.js Chart.min.js chart.umd.js chart.js
          PATHS /usr/share/javascript/chart.js /usr/share/nodejs/chart.js/dist
          DOC "Chart.js 3 or 4, a browser build")
if(NOT IOL_CHART_JS)
  message(FATAL_ERROR "Chart.js not found: install the Debian package libjs-chart.js, "
                      "or set -DIOL_CHART_JS=/path/to/chart.min.js")
endif()

function(iol_embed_report_assets target)
  set(assets ${CMAKE_SOURCE_DIR}/report/assets)
  set(output ${CMAKE_BINARY_DIR}/generated/report_assets.cpp)
  set(files kPageTemplate=${assets}/page.html kPageStyle=${assets}/report.css
            kPageScript=${assets}/report.js kChartLibrary=${IOL_CHART_JS})
  add_custom_command(
    OUTPUT ${output}
    COMMAND ${CMAKE_COMMAND} "-DFILES=${files}" -DOUTPUT=${output}
            -P ${CMAKE_SOURCE_DIR}/cmake/iol_embed_files.cmake
    DEPENDS ${assets}/page.html ${assets}/report.css ${assets}/report.js ${IOL_CHART_JS}
            ${CMAKE_SOURCE_DIR}/cmake/iol_embed_files.cmake
    COMMENT "Embedding the report's assets" VERBATIM)
  target_sources(${target} PRIVATE ${output})
endfunction()
