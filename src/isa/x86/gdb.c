// gdb's description of the registers: constant texts out of the register table, one for each of
// gdb's standard features for this architecture (GDB manual, appendix G.5.5).
#include "isa/x86/x86.h"

#define XML_HEAD "<?xml version=\"1.0\"?><!DOCTYPE feature SYSTEM \"gdb-target.dtd\">"
static const char target_xml[] =
    "<?xml version=\"1.0\"?><!DOCTYPE target SYSTEM \"gdb-target.dtd\"><target>"
    "<architecture>i386:x86-64</architecture><xi:include href=\"core.xml\"/>"
    "<xi:include href=\"sse.xml\"/><xi:include href=\"segments.xml\"/>"
    "<xi:include href=\"system.xml\"/></target>";

#define LINE(n, b, g, grp, type, member)                                                           \
    "<reg name=\"" n "\" bitsize=\"" #b "\" type=\"" type "\" regnum=\"" #g "\"/>"
#define FLAG(n, at) "<field name=\"" n "\" start=\"" #at "\" end=\"" #at "\"/>"

static const char core_xml[] = XML_HEAD
    "<feature name=\"org.gnu.gdb.i386.core\"><flags id=\"i386_eflags\" size=\"4\">" FLAG("CF", 0)
        FLAG("PF", 2) FLAG("AF", 4) FLAG("ZF", 6) FLAG("SF", 7) FLAG("TF", 8) FLAG("IF", 9)
            FLAG("DF", 10) FLAG("OF", 11) FLAG("NT", 14) FLAG("RF", 16) FLAG("VM", 17)
                FLAG("AC", 18) FLAG("VIF", 19) FLAG("VIP", 20) FLAG("ID", 21) "</flags>"
#define CORE(...)              LINE(__VA_ARGS__)
#define WORD(n, g, off, bytes) LINE(n, 32, g, , "int", )
#include "isa/x86/regs.def"
                                                                              "</feature>";

static const char sse_xml[] = XML_HEAD
    "<feature name=\"org.gnu.gdb.i386.sse\"><vector id=\"v4f\" type=\"ieee_single\" count=\"4\"/>"
    "<vector id=\"v2d\" type=\"ieee_double\" count=\"2\"/>"
    "<vector id=\"v16i8\" type=\"int8\" count=\"16\"/>"
    "<vector id=\"v8i16\" type=\"int16\" count=\"8\"/>"
    "<vector id=\"v4i32\" type=\"int32\" count=\"4\"/>"
    "<vector id=\"v2i64\" type=\"int64\" count=\"2\"/><union id=\"vec128\">"
    "<field name=\"v4_float\" type=\"v4f\"/><field name=\"v2_double\" type=\"v2d\"/>"
    "<field name=\"v16_int8\" type=\"v16i8\"/><field name=\"v8_int16\" type=\"v8i16\"/>"
    "<field name=\"v4_int32\" type=\"v4i32\"/><field name=\"v2_int64\" type=\"v2i64\"/>"
    "<field name=\"uint128\" type=\"uint128\"/></union>"
#define SSE(...) LINE(__VA_ARGS__)
#include "isa/x86/regs.def"
    "</feature>";

static const char segments_xml[] = XML_HEAD "<feature name=\"org.gnu.gdb.i386.segments\">"
#define SEGMENT(...) LINE(__VA_ARGS__)
#include "isa/x86/regs.def"
                                            "</feature>";

static const char system_xml[] = XML_HEAD "<feature name=\"org.myna.i386.system\">"
#define SYSTEM(...) LINE(__VA_ARGS__)
#include "isa/x86/regs.def"
                                          "</feature>";

const char *x86_gdb_xml(struct env *e, const char *annex)
{
    static const struct {
        const char *name, *text;
    } files[] = {{"core.xml", core_xml},
                 {"segments.xml", segments_xml},
                 {"sse.xml", sse_xml},
                 {"system.xml", system_xml},
                 {"target.xml", target_xml}};
    for (unsigned i = 0; i < ARRAY_SIZE(files); i++)
        if (!strcmp(annex, files[i].name))
            return files[i].text;
    return NULL;
}
