// Classify images with transformers.js, knowing of the model nothing but the folder that it is in.
//
//     node transformers.cjs MODULES HOME FOLDER DTYPE IMAGE...
//
// MODULES is a folder with node_modules/@huggingface/transformers. FOLDER, below HOME, is loaded without options, or with
// DTYPE if that is not empty. Prints a JSON list of labels and scores a line, the best first.
const { createRequire } = require('node:module');
const path = require('node:path');

const [modules, home, folder, dtype, ...images] = process.argv.slice(2);
const { pipeline, env } = createRequire(path.join(modules, 'package.json'))('@huggingface/transformers');
env.allowRemoteModels = false;
env.localModelPath = home;

(async () => {
  const classify = await pipeline('image-classification', folder, dtype ? { dtype } : undefined);
  for (const image of images) console.log(JSON.stringify(await classify(image)));
})();
