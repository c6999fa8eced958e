"""Tables as files, whatever they are about.

rows         a row, what is wrong with a file or a row, and the limits
encodings    which encoding a text file has
delimited, json_lines, spreadsheet   the readers, one per format
reading      the reader for a file
writing      CSV, XLSX and JSON lines
refused      the file of rows that were not taken
"""
